"""The stages of the funnel: what each computes, judges, and asks for next."""
