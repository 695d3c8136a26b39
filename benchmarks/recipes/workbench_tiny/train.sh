#!/usr/bin/env bash
# Trains the tiny model from random weights: vision and reading separately, then both, then all four objectives.
# It takes 14 minutes on an H100, and an hour and a half on two CPU cores with fewer and smaller batches.
#
#   benchmarks/recipes/workbench_tiny/train.sh runs/workbench-tiny
#
# TOKENS=N sets the tokens per frame (default 4), SEED=N the training seed. ABLATED=pictures|steps|state|past ablates that
# input in all stages. SHORTER=X divides the time of every stage by X. FROM=FOLDER takes data and the stages before the
# last from another training, as for the models with ablated inputs in benchmarks/quality/checkpoint.py. CLIPS, VIDEOS and
# PRACTICE are amounts of data. WORKERS is the number of processes that prepare batches on a machine with a GPU.
set -euo pipefail
out=${1:?usage: train.sh FOLDER}
tokens=${TOKENS:-4} ablated=${ABLATED:-} seed=${SEED:-0} shorter=${SHORTER:-1} from=${FROM:-$out}
data=$from/data world=$from/data/world
workers=${WORKERS:-8}
mkdir -p "$out" "$data"

if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  gpu=1 clips=${CLIPS:-5000} videos=${VIDEOS:-4000} practice=${PRACTICE:-6000}
else
  # one core per stage, or two processes with one thread each, which are faster than one process with two
  gpu='' clips=${CLIPS:-2000} videos=${VIDEOS:-480} practice=${PRACTICE:-3000}
fi
export OMP_NUM_THREADS=1

# two trainings that share their data wait for each other (`prospect data` has its own lock, .NAME.lock)
make() {
  (
    flock 9
    [ -d "$data/$1" ] || nice prospect data "$2" --output "$data/$1" "${@:3}"
  ) 9>"$data/.$1.making"
}
make_what_is_read() {
  make tell-few practice --seed 3 --count $((practice / 2)) --steps 2 5 --telling & local few=$!
  make tell practice --seed 4 --count "$practice" --telling & local tell=$!
  make talk practice --seed 2 --count "$practice"
  wait $few && wait $tell
}
# a small part of the later data, which contains all of its words
make_words() {
  make words-said workbench --seed 9 --train $((videos < 40 ? videos : 40)) --val 0 --test 0 --video-fps 2
  make words-seen captions --seed 9 --count $((clips < 40 ? clips : 40))
}
# starts when the first stage trains, which needs the cores until then
make_what_is_seen() {
  until [ -s "$out/1-map/train_log.jsonl" ]; do
    kill -0 $$
    sleep 1
  done
  make held captions --seed 1 --count "$clips" --tells held
  make steps captions --seed 2 --count "$clips"
  # only the pictures that training reads
  make world workbench --seed 0 --train "$videos" --test 0 --video-fps 2
}

# wait for data that is made in the background
wait_for() {
  until [ -d "$data/$1" ]; do
    kill -0 $making
    sleep 1
  done
}

# train STAGE BATCH MINUTES MINUTES_ON_A_GPU CONFIG...: train into a folder of that name, unless it exists. Batches are
# eight times as large on a GPU
train() {
  local to=$out/$1 batch=$2 minutes=$3 options=("${@:5}" "${all[@]}")
  if [ $gpu ]; then
    batch=$((batch * 8)) minutes=$4
    options+=(train.precision=tf32 data.workers="$workers" data.windows_per_episode=64 train.save_every=100000 train.log_every=50)
  fi
  options+=("train.minutes=$(python -c "print($minutes / $shorter)")" "output=$to")
  [ -f "$to/model.safetensors" ] || prospect train train.batch_size=$batch "${options[@]}"
}
train_two() {
  if [ $gpu ]; then train "$@"; return; fi
  prospect() { torchrun --standalone --nproc-per-node 2 -m prospect_core.cli "$@"; }
  train "$1" "$(($2 / 2))" "${@:3}"
  unset -f prospect
}

# supervise every frame of a window; choose thresholds at the end
all=(sampling=all eval.thresholds=false sampling.summary_share=0 optimiser=muon "train.seed=$seed")
if [ -n "$ablated" ]; then all+=("model.ablated_inputs=[$ablated]"); fi
undecided=(loss.speaking.weight=0 loss.update.weight=0 sampling.context_noise.late=0 sampling.context_noise.wrong=0)
shape=(model.vision.image_size=96 model.vision.patch_size=12 model.vision.layers=5 model.max_context=2560
  "model.texts=[$data/talk,$data/words-said,$data/words-seen]")
pictures=(data.picture_cache_mb=8000)

# vision: contents of each patch, then the item in hand with the final number of tokens; image slots learn the captions.
# The text model of one layer is discarded afterwards
learn_to_see() {
  # reading uses the other half
  local workers=$((workers / 2))
  see=("${undecided[@]}" "${pictures[@]}" sampling.patch_captions=true sampling.min_frames=4 sampling.max_frames=4
    sampling.event_share=0 sampling.recent_share=0 sampling.blank_share=0 sampling.progress_share=0 loss.state.weight=0)
  train 1-map 12 12 2.2 "${see[@]}" data="$data/map" "${shape[@]}" model.vision.stem_width=16 model.text.layers=1 \
    model.tokens_per_frame=16
  wait_for held
  train 2-held 12 16 1.8 "${see[@]}" data="$data/held" init="$out/1-map" model.tokens_per_frame="$tokens"
}

# reading: the user names the current step and only states carry loss; then dialogue, with answers from text only
learn_to_read() {
  local workers=$((workers / 2))
  read=("${undecided[@]}" model.vision_tower=frozen sampling.blank_share=0 sampling.recent_share=0)
  train 3-tell 24 14 1.8 "${read[@]}" data="$data/tell-few" "data.more=[$data/tell]" "${shape[@]}" \
    model.tokens_per_frame="$tokens" sampling.event_share=1 sampling.context_noise.missed=1 sampling.progress_share=0 \
    sampling.min_frames=3 sampling.max_frames=3 loss.response.weight=0
  train 4-talk 12 12 1.8 "${read[@]}" data="$data/talk" init="$out/3-tell" sampling.event_share=0.5 \
    sampling.context_noise.missed=0.2 sampling.progress_share=0.2 sampling.min_frames=8 sampling.max_frames=16 loss.state.weight=2
}

if [ "$from" = "$out" ]; then
  make_what_is_read & reading=$!
  make_words
  make map captions --seed 0 --count "$clips" --tells map
  wait $reading
  make_what_is_seen & making=$!
  learn_to_see & seeing=$!
  learn_to_read
  wait $seeing
  wait_for steps

  # both: the trained vision tower with the trained text model. Captions name the step, which is in progress while a
  # picture shows it; dialogue continues as a second dataset
  train_two 5-both 8 24 1.5 "${undecided[@]}" "${pictures[@]}" data="$data/steps" "data.more=[$data/talk]" \
    init="$out/4-talk" model.tower="$out/2-held" sampling.min_frames=10 sampling.max_frames=20 sampling.event_share=0 \
    sampling.blank_share=0 sampling.recent_share=0 sampling.context_noise.missed=0.3 sampling.progress_share=0 loss.state.weight=2
  wait $making
fi

# tracking: dialogues with all four objectives, over windows up to whole episodes; the vision tower stays frozen
train_two 6-track 8 26 4 model.vision_tower=frozen data="$world" init="$from/5-both" \
  sampling.min_frames=20 sampling.max_frames=420 sampling.event_share=0.5 sampling.context_noise.missed=0.02 sampling.context_noise.late=0.05 \
  sampling.context_noise.wrong=0.1 sampling.context_noise.early=0.5 sampling.context_noise.unsaid=0.05 sampling.progress_share=0.1 loss.state.weight=4

if [ -z "${NO_THRESHOLDS:-}" ]; then env -u OMP_NUM_THREADS prospect-eval calibrate --ckpt "$out/6-track" --data "$world"; fi
