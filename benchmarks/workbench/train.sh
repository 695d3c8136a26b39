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
prospect data captions --output "$out/data/hand" --seed 1 --count 2500 --tells hand
prospect data captions --output "$out/data/steps" --seed 2 --count 1500
prospect data practice --output "$out/data/tell-few" --seed 3 --count 2000 --steps 2 5 --telling
prospect data practice --output "$out/data/tell" --seed 4 --count 3000 --telling
prospect data practice --output "$out/data/talk-few" --seed 1 --count 2000 --steps 2 5
prospect data practice --output "$out/data/talk" --seed 2 --count 4000
prospect data workbench --output "$world" --seed 0 --train 240 --test 0

# two processes of one thread each are faster than one process of two
export OMP_NUM_THREADS=1
train() { torchrun --standalone --nproc-per-node 2 -m prospect_core.cli train "$@"; }

# windows supervised on every frame; thresholds are chosen at the very end
all=(sampling=all eval.thresholds=false sampling.summary_share=0 sampling.progress_share=0 optimiser=muon)
if [ $# -gt 1 ]; then all+=("model.lacks=[$2]"); fi
undecided=(loss.speaking.weight=0 loss.update.weight=0)

# see: what is where, with all of the tower's tokens; then what is done, with four tokens a frame
see=("${all[@]}" "${undecided[@]}" data.picture_cache_mb=4000 data.windows_per_episode=4 sampling.event_share=0
  sampling.recent_share=0 loss.state.weight=0 train.batch_size=12)
train "${see[@]}" data="$out/data/map" output="$out/1-map" model.vision.image_size=96 model.vision.patch_size=12 \
  model.tokens_per_frame=16 "model.texts=[$world,$out/data/talk,$out/data/hand]" \
  sampling.min_frames=4 sampling.max_frames=4 train.minutes=14
train "${see[@]}" data="$out/data/hand" output="$out/2-hand" init="$out/1-map" model.tokens_per_frame=4 \
  sampling.min_frames=8 sampling.max_frames=8 train.minutes=7

# read: the user tells which step is in hand, states alone; then they talk, and answers come from text alone
tell=("${all[@]}" "${undecided[@]}" model.vision_tower=frozen sampling.blank_share=0 sampling.recent_share=0
  sampling.event_share=1 sampling.missed_share=1 sampling.min_frames=2 sampling.max_frames=2 loss.response.weight=0)
train "${tell[@]}" data="$out/data/tell-few" output="$out/3-tell" init="$out/2-hand" train.batch_size=32 \
  train.minutes=2.5
train "${tell[@]}" data="$out/data/tell" output="$out/4-tell" init="$out/3-tell" train.batch_size=12 train.minutes=4.5
talk=("${all[@]}" "${undecided[@]}" model.vision_tower=frozen sampling.blank_share=0 sampling.recent_share=0
  sampling.event_share=0.5 sampling.missed_share=0.2 sampling.progress_share=0.2 sampling.min_frames=8
  loss.state.weight=2)
train "${talk[@]}" data="$out/data/talk" output="$out/5-talk" init="$out/4-tell" model.tokens_per_frame=1 \
  sampling.max_frames=18 train.batch_size=6 train.minutes=3.5

# both: captions that name the step, which is in progress while a picture shows it; then talk again, now with one token a frame
train "${all[@]}" "${undecided[@]}" data.picture_cache_mb=4000 data="$out/data/steps" output="$out/6-both" \
  init="$out/5-talk" sampling.min_frames=12 sampling.max_frames=24 sampling.event_share=0 sampling.blank_share=0 \
  sampling.recent_share=0 sampling.missed_share=0.5 loss.state.weight=2 train.batch_size=6 train.minutes=8
train "${talk[@]}" data="$out/data/talk-few" output="$out/7-talk" init="$out/6-both" sampling.max_frames=14 \
  train.batch_size=8 train.minutes=4
train "${talk[@]}" data="$out/data/talk" output="$out/8-talk" init="$out/7-talk" sampling.max_frames=18 \
  train.batch_size=6 train.minutes=3

# track: dialogues and all four objectives, over windows up to whole episodes; what is seen stays as it is
train "${all[@]}" model.vision_tower=frozen data="$world" output="$out/9-track" init="$out/8-talk" \
  sampling.min_frames=20 sampling.max_frames=300 sampling.event_share=0.5 sampling.missed_share=0.1 \
  sampling.progress_share=0.1 loss.state.weight=4 train.batch_size=4 train.minutes=18

prospect-eval calibrate --ckpt "$out/9-track" --data "$world"
