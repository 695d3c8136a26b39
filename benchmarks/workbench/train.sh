#!/usr/bin/env bash
# Makes the shipped checkpoint: read, then see, then all four objectives over long windows; on CPU, two cores.
#   benchmarks/workbench/train.sh runs/workbench-tiny
set -euo pipefail
out=${1:?usage: train.sh FOLDER}
here=$(dirname "$0")
world=$out/data practice=$out/practice

prospect data workbench --output "$world" --seed 0
prospect data practice --output "$practice" --seed 0 --count 3000

# read: answers copied from the prompt; nothing is to be seen, so decisions carry no loss
read=(data="$practice" sampling.blank_share=0 sampling.recent_share=0 sampling.event_share=1
  loss.speaking.weight=0 loss.update.weight=0 loss.state.weight=0.5 train.learning_rate=1.2e-3)
prospect train "${read[@]}" output="$out/1-read" sampling.min_frames=4 sampling.max_frames=8 \
  train.batch_size=16 train.minutes=9
prospect train "${read[@]}" output="$out/2-read" init="$out/1-read" sampling.min_frames=4 sampling.max_frames=12 \
  train.batch_size=14 train.minutes=7
