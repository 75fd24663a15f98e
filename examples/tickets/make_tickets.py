"""Make the example data set: messages of customers, and the record that a help desk wants of each.

    python examples/tickets/make_tickets.py examples/tickets/tickets.jsonl

One line is ``{"messages": [system, user, assistant]}``. The answer is a JSON object without white space; its keys
are, in this order:

    name   the customer's name, as written
    order  the order number, an integer
    item   the product, as written, without article, number or colour
    issue  broken | late | missing | wrong | faulty
    want   refund | replacement | repair | update

A base model does not know the names of the five issues and four wishes, so it starts near zero; the facts are
all in the message. Everything is drawn from one seed: the same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

INSTRUCTION = "Turn the ticket into JSON."

_FIRST = """
Ada Amir Ana Anton Ben Bola Carla Chen Chloe Dara David Elif Emeka Emma Erik Fatima Felix Freya Grace Hana
Hugo Ines Ivan Jack Jana Jonas Kai Kavya Kofi Lara Leo Lena Liam Lucia Luis Mara Marco Maria Mei Mia Milan
Nadia Nina Noah Nora Olga Omar Oscar Paul Petra Priya Rafael Ravi Rosa Ruth Sam Sara Selma Sofia Tariq Theo
Tom Uma Vera Victor Wei Yuki Yusuf Zara Zoe
"""
_LAST = """
Adams Ahmed Ali Baker Bauer Becker Bell Berg Brown Castro Clark Cohen Costa Cruz Davis Diaz Dubois Evans
Ferrari Fischer Ford Garcia Gomez Gray Green Hall Hansen Haas Hill Ito Jensen Jones Kaya Keller Khan Kim
King Klein Kumar Lang Larsen Lee Lopez Martin Meyer Moore Mori Nagy Novak Okafor Olsen Park Patel Perez
Popov Reed Rossi Sato Schmidt Shah Silva Singh Smith Tan Torres Turner Wagner Walker Ward Weber Wong Wood
Young
"""
_ITEMS = """
kettle, toaster, desk lamp, blender, office chair, backpack, tent, sleeping bag, keyboard, mouse, monitor,
headphones, phone case, tablet, printer, camera, tripod, guitar, drum kit, bike helmet, bike pump, running
shoes, rain jacket, yoga mat, water bottle, coffee grinder, rice cooker, frying pan, knife set, teapot,
vase, mirror, bookshelf, rug, curtains, duvet, pillow, alarm clock, wall clock, fan, heater, vacuum cleaner,
iron, hair dryer, razor, toothbrush, board game, puzzle, telescope, microscope, garden hose, lawn mower,
drill, hammer, ladder, paint set, sewing machine, suitcase, wallet, umbrella, watch, speaker, router,
charger, power bank, dog bed, cat tree, bird feeder, fish tank, stroller
"""
FIRST = tuple(_FIRST.split())
LAST = tuple(_LAST.split())
ITEMS = tuple(name.strip() for name in _ITEMS.replace("\n", " ").split(","))
COLOURS = ("red", "blue", "green", "black", "white", "grey", "pink", "yellow", "brown", "silver")

PROBLEMS = {
    "broken": (
        "the {item} arrived cracked",
        "my {item} came in pieces",
        "{item} was smashed when I opened the box",
        "the {item} has a big dent and a snapped part",
        "there is a crack right across the {item}",
        "the {item} was shattered on arrival",
        "box crushed, {item} inside in bits",
        "the {item} is snapped in half",
    ),
    "late": (
        "the {item} still has not come",
        "I have been waiting three weeks for the {item}",
        "my {item} should have been here on Monday",
        "no sign of the {item}, two weeks overdue",
        "the {item} is way past its delivery date",
        "tracking for the {item} has not moved in days",
        "you promised the {item} for last Friday",
        "how long can one {item} take to ship",
    ),
    "missing": (
        "the box came but there was no {item} in it",
        "the {item} was left out of the parcel",
        "everything was there except the {item}",
        "I opened the parcel and the {item} was not inside",
        "you forgot to pack the {item}",
        "parcel arrived empty, no {item}",
        "the {item} is on the slip but not in the box",
        "got the rest of it, just not the {item}",
    ),
    "wrong": (
        "you sent a different {item} from the one I chose",
        "this is not the {item} I ordered",
        "I asked for another model of {item}",
        "the {item} is the wrong size",
        "wrong colour of {item} in the box",
        "the {item} I got belongs to somebody else",
        "the {item} you sent does not match the picture",
        "got some other {item}, not mine",
    ),
    "faulty": (
        "the {item} stopped working after a day",
        "my {item} does not do what it should any more",
        "the {item} keeps failing on me",
        "the {item} worked once and then gave up",
        "the {item} looks fine but it does not work",
        "since yesterday the {item} is dead",
        "the {item} plays up every time I use it",
        "cannot get the {item} to work at all",
    ),
}
WISHES = {
    "refund": (
        "I want my money back",
        "please refund me",
        "a refund would be best",
        "just give me back what I paid",
        "send the money back to my card",
        "I would like to be reimbursed",
        "cancel it and pay me back",
    ),
    "replacement": (
        "please send a new one",
        "can I get another one instead",
        "I need a replacement",
        "swap it for me please",
        "just ship me a fresh one",
        "I would like it exchanged",
        "could you send one that is right",
    ),
    "repair": (
        "can somebody fix it",
        "I would like it repaired",
        "please mend it",
        "where can I have it fixed",
        "do you have a workshop that can repair it",
        "I'd rather have it fixed than lose it",
        "repair it please",
    ),
    "update": (
        "please tell me what is going on",
        "just let me know the status",
        "can you give me some news",
        "when will this be sorted",
        "keep me posted",
        "I only want to know what happens next",
        "any news on this?",
    ),
}
# Which wishes make sense with which problem.
SENSIBLE = {
    "broken": ("refund", "replacement", "repair"),
    "late": ("refund", "update"),
    "missing": ("refund", "replacement", "update"),
    "wrong": ("refund", "replacement"),
    "faulty": ("refund", "replacement", "repair"),
}

GREETINGS = (
    "Hi",
    "Hello",
    "Good morning",
    "Hey",
    "Dear team",
    "Hi there",
    "Hello all",
    "To whom it may concern",
    "Evening",
)
NAMED = ("this is {name}", "{name} here", "my name is {name}", "I am {name}", "it's {name}", "{name} writing")
SIGNED = (
    "Thanks, {name}",
    "Regards, {name}",
    "{name}",
    "Best, {name}",
    "- {name}",
    "Yours, {name}",
    "Cheers, {name}",
)
ORDERS = (
    "order {order}",
    "my order number is {order}",
    "order no. {order}",
    "it's about order {order}",
    "ref {order}",
    "order #{order}",
    "the order is {order}",
    "(order {order})",
    "regarding order {order}",
)
ASIDES = (
    "",
    "",
    "",
    "",
    "",
    "not happy",
    "third time I write",
    "it was a gift",
    "I like your shop otherwise",
    "sorry to bother you",
    "this is really annoying",
    "no rush",
    "it's quite urgent",
    "I need it by Sunday",
    "bad luck I guess",
)


def typo(text: str, draw: random.Random) -> str:
    """Swaps, drops or doubles one letter inside a word of four letters or more."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
    if not long:
        return text
    at = draw.choice(long)
    word = words[at]
    i = draw.randrange(1, len(word) - 1)
    words[at] = draw.choice(
        (
            word[:i] + word[i + 1] + word[i] + word[i + 2 :],
            word[:i] + word[i + 1 :],
            word[:i] + word[i] + word[i:],
        )
    )
    return " ".join(words)


def sentence(text: str, draw: random.Random, tidy: bool) -> str:
    """One clause as a customer types it; typos go in before the facts, so that the record stays certain."""
    if not tidy and draw.random() < 0.3:
        text = typo(text, draw)
    return text[0].upper() + text[1:] if tidy else text


def make_row(draw: random.Random) -> dict[str, object]:
    """One ticket and its record."""
    name = draw.choice(FIRST) + (" " + draw.choice(LAST) if draw.random() < 0.75 else "")
    order = draw.randrange(1000, 100_000)
    item = draw.choice(ITEMS)
    issue = draw.choice(tuple(PROBLEMS))
    want = draw.choice(SENSIBLE[issue])
    tidy = draw.random() < 0.6

    shown = f"{draw.choice(COLOURS)} {item}" if draw.random() < 0.25 else item
    facts = [
        sentence(draw.choice(PROBLEMS[issue]), draw, tidy),
        sentence(draw.choice(ORDERS), draw, tidy),
    ]
    draw.shuffle(facts)
    wish = sentence(draw.choice(WISHES[want]), draw, tidy)
    facts.insert(draw.choice((0, 1, 2, 2, 2, 2)), wish)
    aside = draw.choice(ASIDES)
    if aside:
        facts.insert(draw.randrange(len(facts) + 1), sentence(aside, draw, tidy))

    greeting = draw.choice(GREETINGS) if draw.random() < 0.5 else ""
    if draw.random() < 0.5:
        opening = draw.choice(NAMED)
        facts.insert(0, f"{greeting}, {opening}" if greeting else sentence(opening, draw, tidy=False))
        closing = ""
    else:
        if greeting:
            facts.insert(0, greeting)
        closing = draw.choice(SIGNED)

    stop = "." if tidy else draw.choice((",", " -", ".", ";", " ..."))
    text = f"{stop} ".join(facts)
    if tidy and not text.endswith("?"):
        text += "."
    if closing:
        text += ("" if text[-1] in ".?" else stop.strip() if stop != " -" else ".") + " " + closing
    text = text.replace("?.", "?").format(name=name, order=order, item=shown)
    if not tidy and draw.random() < 0.5:
        text = text.replace(" please", " pls").replace("I'd", "id").replace("you ", "u ")

    record = {"name": name, "order": order, "item": item, "issue": issue, "want": want}
    return {
        "messages": [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": text},
            {"role": "assistant", "content": json.dumps(record, separators=(",", ":"))},
        ]
    }


def make(rows: int, seed: int) -> str:
    """The whole file as text: ``rows`` different tickets, one a line."""
    draw = random.Random(seed)  # noqa: S311 - made-up tickets, nothing secret
    lines: dict[str, None] = {}
    while len(lines) < rows:
        lines[json.dumps(make_row(draw))] = None
    return "".join(line + "\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the example data set of customer tickets.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.out.write_text(make(options.rows, options.seed), encoding="utf-8")


if __name__ == "__main__":
    main()
