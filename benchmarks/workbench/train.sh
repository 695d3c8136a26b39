#!/usr/bin/env bash
# Makes the shipped checkpoint: read, then see, then all four objectives over long windows; on CPU, two cores.
#   benchmarks/workbench/train.sh runs/workbench-tiny
set -euo pipefail
out=${1:?usage: train.sh FOLDER}
world=$out/data short=$out/short practice=$out/practice

prospect data workbench --output "$world" --seed 0 --train 360 --test 0
prospect data practice --output "$short" --seed 0 --count 3000 --steps 2 4
prospect data practice --output "$practice" --seed 0 --count 3000

# windows supervised on every frame; only the last stage's thresholds matter, and those are chosen at the very end
all=(sampling=all eval.thresholds=false sampling.summary_share=0 sampling.progress_share=0 data.picture_cache_mb=3000)
# the quickest on a CPU: this for short windows, float32 and sdpa for long ones
short_windows=(train.precision=bfloat16 model.attention=eager)

# read: answers copied from the prompt, first from short lists of steps; nothing is to be seen, so decisions carry no loss
read=("${all[@]}" "${short_windows[@]}" sampling.blank_share=0 sampling.recent_share=0 sampling.event_share=1
  loss.speaking.weight=0 loss.update.weight=0 loss.state.weight=0.5)
prospect train "${read[@]}" data="$short" output="$out/1-read" sampling.min_frames=3 sampling.max_frames=6 \
  train.batch_size=20 train.learning_rate=1.5e-3 train.minutes=5
prospect train "${read[@]}" data="$practice" output="$out/2-read" init="$out/1-read" sampling.min_frames=4 \
  sampling.max_frames=10 train.batch_size=12 train.learning_rate=1.2e-3 train.minutes=8
prospect train "${read[@]}" data="$practice" output="$out/3-read" init="$out/2-read" sampling.min_frames=4 \
  sampling.max_frames=12 train.batch_size=10 train.learning_rate=1.2e-3 train.minutes=6

# see: short windows of real videos, then ever longer ones, up to whole episodes
see=("${all[@]}" data="$world" sampling.missed_share=0)
prospect train "${see[@]}" "${short_windows[@]}" output="$out/4-see" init="$out/3-read" sampling.min_frames=2 sampling.max_frames=8 \
  train.batch_size=12 train.learning_rate=1.2e-3 train.minutes=13
prospect train "${see[@]}" output="$out/5-long" init="$out/4-see" sampling.min_frames=12 sampling.max_frames=300 \
  sampling.event_share=0.5 train.batch_size=4 train.learning_rate=9e-4 train.minutes=9

# track: states weigh more, and a fifth of the updates is missing from the context, as in a stream that missed them
prospect train "${see[@]}" output="$out/6-track" init="$out/5-long" sampling.min_frames=8 sampling.max_frames=200 \
  sampling.missed_share=0.2 loss.state.weight=4 train.batch_size=6 train.learning_rate=1e-3 train.minutes=16

prospect-eval calibrate --ckpt "$out/6-track" --data "$world"
