#!/usr/bin/env bash
# Makes the shipped checkpoint: read, then see, then all four objectives over long windows; on CPU, two cores.
#   benchmarks/workbench/train.sh runs/workbench-tiny
# With a second argument the model does without an input all along (benchmarks/checkpoint.py compares them):
#   benchmarks/workbench/train.sh runs/without-past past
set -euo pipefail
out=${1:?usage: train.sh FOLDER [pictures|steps|state|past]}
lacks=${2:+model.lacks=[$2]}
mkdir -p "$out"
world=$out/data

prospect data practice --output "$out/two" --seed 0 --count 3000 --steps 2 2
prospect data practice --output "$out/few" --seed 1 --count 3000 --steps 2 5
prospect data practice --output "$out/many" --seed 2 --count 4000
prospect data captions --output "$out/captions" --seed 0 --count 3000
prospect data workbench --output "$world" --seed 0 --train 360 --test 0

# windows supervised on every frame; thresholds are chosen at the very end
all=(sampling=all eval.thresholds=false sampling.summary_share=0 sampling.progress_share=0 data.picture_cache_mb=3000
  optimiser=muon $lacks)

# the vocabulary of all that follows
prospect train "${all[@]}" data="$world" output="$out/0-words" train.max_steps=1 train.learning_rate=1e-6

# read: the user tells what happens; states and answers come from text alone, from lists of two lines at first
read=("${all[@]}" model.vision_tower=frozen sampling.blank_share=0 sampling.recent_share=0 sampling.event_share=1
  sampling.missed_share=0.5 loss.speaking.weight=0 loss.update.weight=0 loss.state.weight=2)
prospect train "${read[@]}" data="$out/two" output="$out/1-read" init="$out/0-words" sampling.min_frames=4 \
  sampling.max_frames=6 train.batch_size=20 train.minutes=4
prospect train "${read[@]}" data="$out/few" output="$out/2-read" init="$out/1-read" sampling.min_frames=4 \
  sampling.max_frames=8 train.batch_size=14 train.minutes=4
prospect train "${read[@]}" data="$out/many" output="$out/3-read" init="$out/2-read" sampling.min_frames=6 \
  sampling.max_frames=14 train.batch_size=10 train.minutes=8

# see: single pictures with captions; a step is in progress while a picture shows it
prospect train "${all[@]}" data="$out/captions" output="$out/4-see" init="$out/3-read" sampling.min_frames=24 \
  sampling.max_frames=24 sampling.blank_share=1 sampling.recent_share=0 sampling.missed_share=1 \
  loss.speaking.weight=0 loss.update.weight=0 loss.state.weight=2 train.batch_size=10 train.minutes=14

# track: dialogues and all four objectives, over windows up to whole episodes; what is seen stays as it is
prospect train "${all[@]}" model.vision_tower=frozen data="$world" output="$out/5-track" init="$out/4-see" \
  sampling.min_frames=12 sampling.max_frames=300 sampling.event_share=0.5 sampling.missed_share=0.2 \
  loss.state.weight=4 train.batch_size=6 train.learning_rate=2e-3 train.minutes=25

prospect-eval calibrate --ckpt "$out/5-track" --data "$world"
