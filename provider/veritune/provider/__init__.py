"""The provider's side: daemon, jobs, trainer, inference engines, receipts."""
