"""IonSieve: find new solid electrolytes by computation.

Three packages, useful alone and joined by the funnel:

``ionsieve.ewald``
    every arrangement of dopants and vacancies, ranked exactly by point-charge energy
``ionsieve.md_analysis``
    trajectories to self-diffusivity and conductivity with calibrated errors
``ionsieve.workflows``
    the funnel: mothers, doping, relaxation, convex hull, molecular dynamics, store
"""

__version__ = "0.1.0"
