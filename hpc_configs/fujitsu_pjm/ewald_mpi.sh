#!/bin/bash
# Ewald ranking on many cores:  pjsub {{ (folder ~ "/ewald_mpi.sh") | shell }}
#PJM -N ewald
#PJM -L "rscgrp={{ queue }}"
#PJM -L "node={{ nodes }}"
#PJM -L "elapse={{ walltime }}"
#PJM --mpi "proc={{ ranks }}"
#PJM --mpi "max-proc-per-node={{ ranks_per_node }}"
#PJM -g {{ account }}
#PJM -x PJM_LLIO_GFSCACHE={{ volumes }}
#PJM -j

source {{ (folder ~ "/environment.sh") | shell }}
cd "$PJM_O_WORKDIR" || exit 1
# What to rank. Submit again after the time limit: it goes on from the checkpoint.
{{ mpi_launcher | replace("{ranks}", ranks | string) }} ionsieve rank Na3SbS4.cif --charges "Na+ Sb5+ S2-" \
  --supercell "2 2 2" --replace "Sb=W6+:2" --vacate "Na:2" --top 5 \
  --checkpoint ewald.npz --out ranked
