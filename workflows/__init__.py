"""The funnel: mother crystals to ranked conductors."""
