# Every batch job starts with this; so should you:  source {{ (folder ~ "/environment.sh") | shell }}
{% if modules %}
type module >/dev/null 2>&1 || source /etc/profile
module load {{ modules }}
{% endif %}
# Compute nodes are Arm, login nodes x86: each needs a Python environment of its own.
if [ "$(uname -m)" = aarch64 ]; then
  export PATH={{ (environment ~ "/bin") | shell }}:"$PATH"
else
  export PATH={{ (login_environment ~ "/bin") | shell }}:"$PATH"
fi
export FW_CONFIG_FILE={{ (folder ~ "/FW_config.yaml") | shell }}
export JOBFLOW_CONFIG_FILE={{ (folder ~ "/jobflow.yaml") | shell }}
export ATOMATE2_CONFIG_FILE={{ (folder ~ "/atomate2.yaml") | shell }}
# What screening.yaml calls $ATOMATE2_VASP_CMD and $ATOMATE2_VASP_GAMMA_CMD.
export ATOMATE2_VASP_CMD={{ vasp_std | shell }}
export ATOMATE2_VASP_GAMMA_CMD={{ vasp_gam | shell }}
{% if potcar_dir %}
export PMG_VASP_PSP_DIR={{ potcar_dir | shell }}
{% endif %}
# One thread for each MPI process; no empty file for each process that prints nothing.
export OMP_NUM_THREADS=1
export PLE_MPI_STD_EMPTYFILE=off
ulimit -s unlimited 2>/dev/null || true
