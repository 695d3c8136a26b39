#!/usr/bin/env bash
# Trains the tiny model from scratch: see and read apart, one core each, then both, then all four objectives; CPU, two cores.
#   benchmarks/workbench/train.sh runs/workbench-tiny
# With a second argument the model does without an input all along (benchmarks/checkpoint.py compares them); a third one is
# by how much less long every stage is:
#   benchmarks/workbench/train.sh runs/without-past past 4
set -euo pipefail
out=${1:?usage: train.sh FOLDER [pictures|steps|state|past [SHORTER]]}
shorter=${3:-1}
mkdir -p "$out"
world=$out/data/world
data=$out/data

[ -d "$data/map" ] || prospect data captions --output "$data/map" --seed 0 --count 2500 --tells map
[ -d "$data/hand" ] || prospect data captions --output "$data/hand" --seed 1 --count 2500 --tells hand
[ -d "$data/steps" ] || prospect data captions --output "$data/steps" --seed 2 --count 1500
[ -d "$data/tell-few" ] || prospect data practice --output "$data/tell-few" --seed 3 --count 2000 --steps 2 5 --telling
[ -d "$data/tell" ] || prospect data practice --output "$data/tell" --seed 4 --count 3000 --telling
[ -d "$data/talk" ] || prospect data practice --output "$data/talk" --seed 2 --count 4000
[ -d "$data/talk-mix" ] || prospect data practice --output "$data/talk-mix" --seed 7 --count 700
[ -d "$world" ] || prospect data workbench --output "$world" --seed 0 --train 480 --test 0

# two processes of one thread each are faster than one process of two
export OMP_NUM_THREADS=1
train() { [ -f "$1/model.safetensors" ] || prospect train output="$1" "${@:2}"; }
train_two() {
  [ -f "$1/model.safetensors" ] || torchrun --standalone --nproc-per-node 2 -m prospect_core.cli train output="$1" "${@:2}"
}
minutes() { python -c "print($1 / $shorter)"; }

# windows supervised on every frame; thresholds are chosen at the very end
all=(sampling=all eval.thresholds=false sampling.summary_share=0 sampling.progress_share=0 optimiser=muon)
if [ $# -gt 1 ]; then all+=("model.lacks=[$2]"); fi
undecided=(loss.speaking.weight=0 loss.update.weight=0)
shape=(model.vision.image_size=96 model.vision.patch_size=12 "model.texts=[$world,$data/talk,$data/hand]")

# see: what is where, with all of the tower's tokens; then what is done, with one token a frame. The text model of one layer is
# thrown away afterwards: what it cannot read off a frame at once, the tower has to tell
learn_to_see() {
  see=("${all[@]}" "${undecided[@]}" data.picture_cache_mb=4000 data.windows_per_episode=4 sampling.event_share=0
    sampling.recent_share=0 sampling.blank_share=0 loss.state.weight=0)
  train "$out/1-map" "${see[@]}" data="$data/map" "${shape[@]}" model.text.layers=1 model.tokens_per_frame=16 \
    sampling.min_frames=4 sampling.max_frames=4 train.batch_size=16 train.minutes="$(minutes 11)"
  train "$out/2-map" "${see[@]}" data="$data/map" init="$out/1-map" train.seed=1 \
    sampling.min_frames=4 sampling.max_frames=4 train.batch_size=24 train.minutes="$(minutes 10)"
  train "$out/3-hand" "${see[@]}" data="$data/hand" init="$out/2-map" model.tokens_per_frame=1 \
    sampling.min_frames=12 sampling.max_frames=12 train.batch_size=8 train.minutes="$(minutes 10)"
}

# read: the user tells which step is in hand, states alone; then they talk, and answers come from text alone
learn_to_read() {
  tell=("${all[@]}" "${undecided[@]}" model.vision_tower=frozen sampling.blank_share=0 sampling.recent_share=0
    sampling.event_share=1 sampling.missed_share=1 sampling.min_frames=3 sampling.max_frames=3 loss.response.weight=0)
  train "$out/4-tell" "${tell[@]}" data="$data/tell-few" "${shape[@]}" model.tokens_per_frame=1 train.batch_size=24 \
    train.minutes="$(minutes 5)"
  train "$out/5-tell" "${tell[@]}" data="$data/tell-few" "data.more=[$data/tell]" init="$out/4-tell" \
    train.batch_size=24 train.minutes="$(minutes 8)"
  train "$out/6-talk" "${all[@]}" "${undecided[@]}" model.vision_tower=frozen data="$data/talk" init="$out/5-tell" \
    sampling.blank_share=0 sampling.recent_share=0 sampling.event_share=0.5 sampling.missed_share=0.2 \
    sampling.progress_share=0.2 sampling.min_frames=8 sampling.max_frames=16 loss.state.weight=2 train.batch_size=12 \
    train.minutes="$(minutes 8)"
}

learn_to_see & seeing=$!
learn_to_read
wait $seeing

# both: the tower that sees with the text model that reads; captions name the step, which is in progress while a picture shows
# it, and talk goes on beside them
both=("${all[@]}" "${undecided[@]}" data.picture_cache_mb=4000 data="$data/steps" "data.more=[$data/talk-mix]"
  sampling.min_frames=10 sampling.max_frames=20 sampling.event_share=0 sampling.blank_share=0 sampling.recent_share=0
  sampling.missed_share=0.3 loss.state.weight=2 train.batch_size=6)
train_two "$out/7-both" "${both[@]}" init="$out/6-talk" model.tower="$out/3-hand" train.minutes="$(minutes 10)"
train_two "$out/8-both" "${both[@]}" init="$out/7-both" train.seed=1 train.minutes="$(minutes 8)"

# track: dialogues and all four objectives, over windows up to whole episodes; what is seen stays as it is
train_two "$out/9-track" "${all[@]}" model.vision_tower=frozen data="$world" init="$out/8-both" \
  sampling.min_frames=20 sampling.max_frames=300 sampling.event_share=0.5 sampling.missed_share=0.1 \
  sampling.progress_share=0.1 loss.state.weight=4 train.batch_size=4 train.minutes="$(minutes 15)"

env -u OMP_NUM_THREADS prospect-eval calibrate --ckpt "$out/9-track" --data "$world"
