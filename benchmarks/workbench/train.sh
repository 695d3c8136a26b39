#!/usr/bin/env bash
# Trains the tiny model from scratch: see, read, then both, then all four objectives over long windows; CPU, two cores.
#   benchmarks/workbench/train.sh runs/workbench-tiny
# With a second argument the model does without an input all along (benchmarks/checkpoint.py compares them):
#   benchmarks/workbench/train.sh runs/without-past past
set -euo pipefail
out=${1:?usage: train.sh FOLDER [pictures|steps|state|past]}
mkdir -p "$out"
world=$out/data

prospect data captions --output "$out/pictures" --seed 0 --count 3000 --bare
prospect data captions --output "$out/captions" --seed 1 --count 2000
prospect data practice --output "$out/two" --seed 0 --count 3000 --steps 2 2
prospect data practice --output "$out/few" --seed 1 --count 3000 --steps 2 5
prospect data practice --output "$out/many" --seed 2 --count 4000
prospect data workbench --output "$world" --seed 0 --train 360 --test 0

# windows supervised on every frame; thresholds are chosen at the very end
all=(sampling=all eval.thresholds=false sampling.summary_share=0 sampling.progress_share=0 optimiser=muon)
if [ $# -gt 1 ]; then all+=("model.lacks=[$2]"); fi
undecided=(loss.speaking.weight=0 loss.update.weight=0)

# the vocabulary of all that follows
prospect train "${all[@]}" data="$world" output="$out/0-words" train.max_steps=1 train.learning_rate=1e-6

# see: one picture, one caption
prospect train "${all[@]}" "${undecided[@]}" data="$out/pictures" output="$out/1-see" init="$out/0-words" \
  data.picture_cache_mb=3000 data.windows_per_episode=8 sampling.min_frames=1 sampling.max_frames=1 \
  sampling.event_share=0 sampling.recent_share=0 loss.state.weight=0 train.batch_size=64 train.minutes=16

# read: the user tells what happens; states and answers come from text alone, from lists of two lines at first
read=("${all[@]}" "${undecided[@]}" model.vision_tower=frozen sampling.blank_share=0 sampling.recent_share=0
  sampling.event_share=1 sampling.missed_share=0.5 loss.state.weight=2)
prospect train "${read[@]}" data="$out/two" output="$out/2-read" init="$out/1-see" sampling.min_frames=4 \
  sampling.max_frames=6 train.batch_size=20 train.minutes=4
prospect train "${read[@]}" data="$out/few" output="$out/3-read" init="$out/2-read" sampling.min_frames=4 \
  sampling.max_frames=8 train.batch_size=14 train.minutes=4
prospect train "${read[@]}" data="$out/many" output="$out/4-read" init="$out/3-read" sampling.min_frames=6 \
  sampling.max_frames=14 train.batch_size=10 train.minutes=8

# both: captions that name the step, which is in progress while a picture shows it
prospect train "${all[@]}" "${undecided[@]}" data="$out/captions" output="$out/5-both" init="$out/4-read" \
  data.picture_cache_mb=3000 sampling.min_frames=12 sampling.max_frames=12 sampling.blank_share=1 \
  sampling.recent_share=0 sampling.missed_share=1 loss.state.weight=2 train.batch_size=20 \
  train.learning_rate=2e-3 train.minutes=10

# track: dialogues and all four objectives, over windows up to whole episodes; what is seen stays as it is
prospect train "${all[@]}" model.vision_tower=frozen data="$world" output="$out/6-track" init="$out/5-both" \
  sampling.min_frames=12 sampling.max_frames=300 sampling.event_share=0.5 sampling.missed_share=0.2 \
  loss.state.weight=4 train.batch_size=6 train.learning_rate=2e-3 train.minutes=25

prospect-eval calibrate --ckpt "$out/6-track" --data "$world"
