#!/usr/bin/env bash
# What has to be shown on a GPU (README.md beside this file), in at most 8 minutes:
#
#   benchmarks/cuda.sh [OUT]
#
# Each step writes its result to OUT at once and then OUT/cuda.md, the table of what there is. A step
# that is done is skipped when the script is started again; one that fails does not stop the others.
# The exit code is the number of steps that are not done.
#
# OUT          results (default: $OUT, else benchmarks/results/cuda)
# PYTHON       with what gridgate needs, and pytest (default: python)
# DATA         folder with msd_hippocampus and openkbp_head_neck (default: ../shared/data)
# BUDGET_S     seconds for all steps (default: 480)
# DEVICE       default: cuda
# STEPS        only these, in quotes (default: all)
# DRY_RUN=1    tiny sizes, on the CPU unless DEVICE is given
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
out=${1:-${OUT:-$here/results/cuda}}
python=${PYTHON:-python}
data=${DATA:-$root/../shared/data}
dry=${DRY_RUN:-}
device=${DEVICE:-$([ -n "$dry" ] && echo cpu || echo cuda)}
ends=$((SECONDS + ${BUDGET_S:-480}))
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export PYTHONUNBUFFERED=1 CUBLAS_WORKSPACE_CONFIG=:4096:8
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 99
cd "$root" || exit 99
missing=0

# step NAME SECONDS COMMAND...: run unless it is done; its output is in OUT/NAME.log
step() {
  local name=$1 limit=$2 began=$SECONDS code
  shift 2
  case " ${STEPS:-$name} " in *" $name "*) ;; *) return ;; esac
  [ -e "$out/$name.done" ] && return
  rm -f "$out/$name.failed"
  # a dry run shows that it works, on a CPU that may be busy
  if [ -n "$dry" ] || [ $((ends - SECONDS)) -lt "$limit" ]; then limit=$((ends - SECONDS)); fi
  if [ "$limit" -lt 5 ]; then
    echo "no time was left; start it again" >"$out/$name.failed"
    missing=$((missing + 1))
  else
    echo "== $name (at most $limit s)"
    timeout --kill-after=10 "$limit" "$@" >"$out/$name.log" 2>&1
    code=$?
    if [ $code -eq 0 ]; then
      echo "$((SECONDS - began)) s" >"$out/$name.done"
    else
      echo "exit code $code after $((SECONDS - began)) s: $(tail -n 1 "$out/$name.log")" \
        >"$out/$name.failed"
      missing=$((missing + 1))
    fi
  fi
  "$python" "$here/cuda/table.py" "$out" >"$out/table.log" 2>&1
}

if [ -n "$dry" ]; then
  inference=(--shape 40 36 24 --spacing 2 2 2 --classes 3 --random-weights)
  training=(--tiny)
  planned=(--time 40s --plan --size small --spacing "[8, 8, 8]")
else
  inference=(--classes 14 --iterations 600)
  training=(--seconds 60)
  planned=(--time 45s)
fi
work=(--work "$out/work" --results "$out" --repeats 1)

step facts 30 "$python" "$here/cuda/facts.py" "$out/facts.json"
files=$(grep -rlE --include='test_*.py' 'mark\.cuda' tests)
# shellcheck disable=SC2086  # one word per file
step tests 120 "$python" -m pytest -q -m cuda -p no:cacheprovider --junit-xml="$out/tests.xml" $files
step hippocampus 130 "$python" "$here/cuda/training.py" msd_hippocampus_attention_unet \
  "$data/msd_hippocampus" "$out/hippocampus.json" --device "$device" "${training[@]}"
step planned 180 "$python" "$here/cuda/planned.py" "$data/msd_hippocampus" "$out/planned.json" \
  --device "$device" "${planned[@]}"
step inference 220 "$python" "$here/inference.py" --device "$device" --warm-only --contestants zoo ours \
  --variants float32 bf16 --name inference "${inference[@]}" "${work[@]}"
step resume 60 "$python" "$here/cuda/resume.py" "$out/resume.json" --device "$device"
step head_neck 130 "$python" "$here/cuda/training.py" head_neck_attention_unet \
  "$data/openkbp_head_neck" "$out/head_neck.json" --device "$device" "${training[@]}"
step planned_head_neck 200 "$python" "$here/cuda/planned.py" "$data/openkbp_head_neck" \
  "$out/planned_head_neck.json" --device "$device" "${planned[@]}"
step agreement 100 "$python" "$here/cuda/masks.py" "$out" -- --device cpu --contestants ours \
  --variants float32 --name inference_cpu "${inference[@]}"
echo "$out/cuda.md"
exit $missing
