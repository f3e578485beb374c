"""The screening.yaml: schema, reading, identity."""
