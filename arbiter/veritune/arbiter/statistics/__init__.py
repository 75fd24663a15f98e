"""Statistics: exact p-values, confidence bounds and e-values; numbers in, numbers out.

In      counts, ranks, probabilities as fractions
Out     p-values, bounds on coverage, e-values for sequential tests
Reads   common
Never   documents, verdict, client, provider, torch, numpy
Start   influence.influence_p, coverage.coverage_bound, sequential

How likely is it that 9 of 10 answers rank first among 16 by luck?

>>> from fractions import Fraction
>>> from veritune.arbiter.statistics.exact import binomial_at_least, log10_text
>>> log10_text(binomial_at_least(10, Fraction(1, 16), 9))
'-9.8622'
"""
