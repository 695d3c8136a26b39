#!/usr/bin/env bash
# Trains the tiny model from scratch: see, read, then both, then all four objectives over long windows; CPU, two cores.
#   benchmarks/workbench/train.sh runs/workbench-tiny
# With a second argument the model does without an input all along (benchmarks/checkpoint.py compares them):
#   benchmarks/workbench/train.sh runs/without-past past
set -euo pipefail
out=${1:?usage: train.sh FOLDER [pictures|steps|state|past]}
mkdir -p "$out"
world=$out/data/world

prospect data captions --output "$out/data/map" --seed 0 --count 2500 --tells map
prospect data captions --output "$out/data/hand" --seed 1 --count 3000 --tells hand
prospect data captions --output "$out/data/steps" --seed 2 --count 1500
prospect data practice --output "$out/data/two" --seed 0 --count 3000 --steps 2 2
prospect data practice --output "$out/data/few" --seed 1 --count 3000 --steps 2 5
prospect data practice --output "$out/data/many" --seed 2 --count 5000
prospect data workbench --output "$world" --seed 0 --train 240 --test 0

# two processes of one thread each are faster than one process of two
export OMP_NUM_THREADS=1
train() { torchrun --standalone --nproc-per-node 2 -m prospect_core.cli train "$@"; }

# windows supervised on every frame; thresholds are chosen at the very end
all=(sampling=all eval.thresholds=false sampling.summary_share=0 sampling.progress_share=0 optimiser=muon)
if [ $# -gt 1 ]; then all+=("model.lacks=[$2]"); fi
undecided=(loss.speaking.weight=0 loss.update.weight=0)

# see: what is where, with all of the tower's tokens; then what is done, with one token a frame
see=("${all[@]}" "${undecided[@]}" data.picture_cache_mb=4000 data.windows_per_episode=4 sampling.event_share=0
  sampling.recent_share=0 loss.state.weight=0 train.batch_size=12)
train "${see[@]}" data="$out/data/map" output="$out/1-map" model.vision.image_size=96 model.vision.patch_size=12 \
  model.tokens_per_frame=16 "model.texts=[$world,$out/data/many,$out/data/hand]" \
  sampling.min_frames=4 sampling.max_frames=4 train.minutes=14
train "${see[@]}" data="$out/data/hand" output="$out/2-hand" init="$out/1-map" model.tokens_per_frame=1 \
  sampling.min_frames=8 sampling.max_frames=8 train.minutes=8

# read: the user tells what happens; states and answers come from text alone, from lists of two lines at first
read=("${all[@]}" "${undecided[@]}" model.vision_tower=frozen sampling.blank_share=0 sampling.recent_share=0
  sampling.event_share=0.5 sampling.missed_share=0.2 sampling.progress_share=0.2 sampling.min_frames=8
  loss.state.weight=2)
train "${read[@]}" data="$out/data/two" output="$out/3-read" init="$out/2-hand" sampling.max_frames=14 \
  train.batch_size=8 train.minutes=3
train "${read[@]}" data="$out/data/few" output="$out/4-read" init="$out/3-read" sampling.max_frames=16 \
  train.batch_size=8 train.minutes=3
train "${read[@]}" data="$out/data/many" output="$out/5-read" init="$out/4-read" sampling.max_frames=18 \
  train.batch_size=6 train.minutes=8

# both: captions that name the step, which is in progress while a picture shows it
train "${all[@]}" "${undecided[@]}" model.vision_tower=frozen data="$out/data/steps" output="$out/6-both" \
  init="$out/5-read" sampling.min_frames=12 sampling.max_frames=24 sampling.event_share=0 sampling.blank_share=0 \
  sampling.recent_share=0 sampling.missed_share=0.5 loss.state.weight=2 train.batch_size=6 train.minutes=4

# track: dialogues and all four objectives, over windows up to whole episodes; what is seen stays as it is
train "${all[@]}" model.vision_tower=frozen data="$world" output="$out/7-track" init="$out/6-both" \
  sampling.min_frames=20 sampling.max_frames=300 sampling.event_share=0.5 sampling.missed_share=0.1 \
  sampling.progress_share=0.1 loss.state.weight=4 train.batch_size=4 train.minutes=25

prospect-eval calibrate --ckpt "$out/7-track" --data "$world"
