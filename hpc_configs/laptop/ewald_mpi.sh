#!/bin/bash
# Ewald ranking on the cores of this machine:  bash {{ (folder ~ "/ewald_mpi.sh") | shell }}

source {{ (folder ~ "/environment.sh") | shell }}
# What to rank. Start again after a break: it goes on from the checkpoint.
{{ mpi_launcher | replace("{ranks}", ranks | string) }} ionsieve rank Na3SbS4.cif --charges "Na+ Sb5+ S2-" \
  --supercell "2 2 2" --replace "Sb=W6+:2" --vacate "Na:2" --top 5 \
  --checkpoint ewald.npz --out ranked
