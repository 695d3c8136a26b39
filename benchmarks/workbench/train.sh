#!/usr/bin/env bash
# Makes the shipped checkpoint: read, then see, then all four objectives over long windows; on CPU, two cores.
#   benchmarks/workbench/train.sh runs/workbench-tiny
set -euo pipefail
out=${1:?usage: train.sh FOLDER}
here=$(dirname "$0")
world=$out/data more=$out/data-more practice=$out/practice

prospect data workbench --output "$world" --seed 0
prospect data workbench --output "$more" --seed 0 --train 1000 --test 0
prospect data practice --output "$practice" --seed 0 --count 3000

# windows supervised on every frame; only the last stage's thresholds matter, and those are chosen at the very end
all=(sampling=all eval.thresholds=false sampling.summary_share=0 sampling.progress_share=0)

# read: answers copied from the prompt; nothing is to be seen, so decisions carry no loss
read=("${all[@]}" data="$practice" sampling.blank_share=0 sampling.recent_share=0 sampling.event_share=1
  loss.speaking.weight=0 loss.update.weight=0 loss.state.weight=0.5 train.learning_rate=1.2e-3)
prospect train "${read[@]}" output="$out/1-read" sampling.min_frames=4 sampling.max_frames=8 \
  train.batch_size=16 train.minutes=9
prospect train "${read[@]}" output="$out/2-read" init="$out/1-read" sampling.min_frames=4 sampling.max_frames=12 \
  train.batch_size=14 train.minutes=7

# see: short windows of real videos, then ever longer ones, up to whole episodes
see=("${all[@]}" data="$world" sampling.missed_share=0)
prospect train "${see[@]}" output="$out/3-see" init="$out/2-read" sampling.min_frames=2 sampling.max_frames=8 \
  train.batch_size=16 train.learning_rate=1.2e-3 train.minutes=13
prospect train "${see[@]}" output="$out/4-long" init="$out/3-see" sampling.min_frames=12 sampling.max_frames=272 \
  sampling.event_share=0.5 train.batch_size=4 train.learning_rate=9e-4 train.minutes=20

# track: states weigh more; then a fifth of the updates is missing from the context, as in a stream that missed them
track=(sampling.min_frames=8 sampling.max_frames=180 loss.state.weight=4 train.batch_size=6)
prospect train "${see[@]}" "${track[@]}" output="$out/5-state" init="$out/4-long" \
  train.learning_rate=1e-3 train.minutes=21
prospect train "${all[@]}" "${track[@]}" data="$more" output="$out/6-missed" init="$out/5-state" sampling.missed_share=0.2 \
  train.learning_rate=9e-4 train.minutes=13

prospect-eval calibrate --ckpt "$out/6-missed" --data "$world"
