#!/bin/bash -l
# Ewald ranking on many cores:  qsub {{ (folder ~ "/ewald_mpi.sh") | shell }}
#$ -S /bin/bash
#$ -N ewald
#$ -pe {{ parallel_environment }} {{ ranks }}
#$ -l h_rt={{ walltime }}
#$ -cwd
#$ -j y
#$ -r n
{% if queue %}
#$ -q {{ queue }}
{% endif %}
{% if account %}
#$ {{ account_option }} {{ account }}
{% endif %}

source {{ (folder ~ "/environment.sh") | shell }}
# What to rank. Submit again after the time limit: it goes on from the checkpoint.
{{ mpi_launcher | replace("{ranks}", ranks | string) }} ionsieve rank Na3SbS4.cif --charges "Na+ Sb5+ S2-" \
  --supercell "2 2 2" --replace "Sb=W6+:2" --vacate "Na:2" --top 5 \
  --checkpoint ewald.npz --out ranked
