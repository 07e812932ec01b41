#!/bin/sh
# Makes the text that multi30k-tok-en-de-best.yaml trains on beside Multi30k, in corpora/multi30k/synthetic.
#
#   1. four teachers, which err differently, and a model for the other direction
#   2. English sampled from the German captions, twice: other words for captions that are known
#   3. German for both the captions' English and the sampled one, by the four teachers together
#
# Usage, in a clone: recipes/multi30k-synthetic.sh [RUNS]   (default: runs/ of the clone); about six hours on one CPU core
# with bf16 products. Started again, it goes on where it was. TFCLI_DATA may name the folder that holds multi30k/tok.
set -eu
command -v tfcli > /dev/null || { echo "multi30k-synthetic.sh: no tfcli on the path; try: . .venv/bin/activate" >&2; exit 127; }
here=$(cd "$(dirname "$0")" && pwd)
runs=${1:-$here/../runs}
made=$here/../corpora/multi30k/synthetic
mkdir -p "$made"

teacher() {
    name=$1
    shift
    tfcli train "$here/multi30k-tok-en-de.yaml" --out "$runs/$name" --set training.r_drop=null "$@"
}
teacher teacher1
teacher teacher2 --set model.preset=modern-tiny --set training.max_steps=3190 --set training.warmup_steps=319
teacher teacher3 --set model.norm=post --set training.max_steps=6000 --set training.warmup_steps=600
teacher teacher4 --set training.learning_rate=3e-3 --set training.max_steps=6000
tfcli train "$here/multi30k-tok-de-en.yaml" --out "$runs/multi30k-tok-de-en"

# where the trainings found their text, or fetched it to
for root in "${TFCLI_DATA:-$here/../corpora}" "$here/../corpora"; do
    gold=$root/multi30k/tok/train.lc.norm.tok
    [ -f "$gold.de.gz" ] && break
done

for seed in 1 2; do
    tfcli translate "$runs/multi30k-tok-de-en" "$gold.de.gz" -o "$made/sample$seed.en" \
        --sample --temperature 0.8 --top-k 10 --seed $seed --engine torch
done

together() {
    tfcli translate "$runs/teacher1" "$1" -o "$2" --engine torch \
        --ensemble "$runs/teacher2" --ensemble "$runs/teacher3" --ensemble "$runs/teacher4"
}
together "$gold.en.gz" "$made/train.ensemble.de"
together "$made/sample1.en" "$made/sample1.ensemble.de"
together "$made/sample2.en" "$made/sample2.ensemble.de"
