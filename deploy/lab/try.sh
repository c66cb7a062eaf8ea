#!/bin/bash
# Brings up the offline lab in DIR (MinIO, Mosquitto, a queue on them) and runs one job through it.
#
#   deploy/lab/try.sh DIR [PROGRAMS]
#
# PROGRAMS: a directory with the program minio, where it is not on PATH. Exit status: that of the command that failed.
set -euo pipefail

dir=$(mkdir -p -- "$1" && cd -- "$1" && pwd)
programs=${2:-}
bin=$(cd -- "$(dirname -- "$0")/../../.venv/bin" && pwd)
agent=("$bin/edge-agent" --config "$dir/lab-agent.toml" --state-dir "$dir/state")
person=("$bin/edge-agent" --config "$dir/lab-submit.toml")
# A share that is spelled out lets this agent run beside one that gives out the whole host.
export EDGE_AGENT_RESOURCES__CPUS=1 EDGE_AGENT_RESOURCES__MEMORY=256MiB EDGE_AGENT_AGENT__LOG_LEVEL=warning

PATH=${programs:+$programs:}$PATH "$bin/edge-agent" lab up --dir "$dir" >/dev/null
"$bin/edge-agent" lab status --dir "$dir"

# In the agent's own folder, from which jobs may take images without a word in the configuration.
image=$dir/state/images/tiny.sif
if [ ! -e "$image" ]; then
    echo "building an image from this host's own files"
    (umask 077 && mkdir -p "${image%/*}")
    "$bin/python" - "$image" <<'PYTHON'
import shutil, sys
from pathlib import Path
from agent.adapters.local_image import build_image
build_image(Path(sys.argv[1]), shutil.which("apptainer") or shutil.which("singularity") or "apptainer")
PYTHON
fi
cat >"$dir/job.toml" <<TOML
name = "first"
image = "file://$image"
command = ["sh", "-c", "echo hello from the lab; uname -m > machine.txt"]
requires = {cpus = 0.5, memory = "64MiB", disk = "16MiB"}
outputs = [{path = "machine.txt"}]
TOML

sid=$("${person[@]}" submit "$dir/job.toml")
echo "submitted $sid to the queue on MinIO"
"${agent[@]}" run --until-empty
"${person[@]}" status "$sid"
"${person[@]}" results "$sid" --to "$dir/results/$sid"
cat <<TEXT

The lab goes on running. What to do with it:
  an agent:     .venv/bin/edge-agent --config $dir/lab-agent.toml --state-dir $dir/state run
  a job:        .venv/bin/edge-agent --config $dir/lab-submit.toml submit --wait $dir/job.toml
  its hosts:    .venv/bin/edge-agent --config $dir/lab-operator.toml fleet
  is all well?  .venv/bin/edge-agent --config $dir/lab-agent.toml --state-dir $dir/state doctor
  stop it:      make lab-down
TEXT
