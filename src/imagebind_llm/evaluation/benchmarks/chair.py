"""CHAIR: objects that descriptions of COCO photos mention although they are not there (Rohrbach et al. 2018).

- ``CHAIR_i``: of the mentions of one of COCO's 80 objects, the share of objects that are not in the photo.
  Each mention counts, also of the same object.
- ``CHAIR_s``: the share of descriptions with such a mention.
- ``recall``: of the objects in the photos, the share that is mentioned.

Lower is better for the first two. An object is in a photo if somebody outlined it (instances) or one of
the photo's captions mentions it. Words are found as the paper's program does: in lower case, in singular and
plural, two words as one where they name another thing ("hot dog", "train track"), and without "baby", "adult"
and "passenger" before an animal or a vehicle, which would be persons.

The table of synonyms here was written for this package and is not the paper's, so that shares can differ
a little from those in papers. The option ``--synonyms`` takes the paper's ``synonyms.txt``: one line per
object, its name first, parted by commas.

The question is the field's, "Please describe this image in detail.", with up to 512 tokens.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.evaluation.benchmarks.captioning import coco_caption
from imagebind_llm.evaluation.benchmarks.finding import Media, find_table, require_data
from imagebind_llm.evaluation.benchmarks.questions import Question
from imagebind_llm.evaluation.benchmarks.reading import by_id, json_object, text_lines
from imagebind_llm.evaluation.suite import Answer, Facts, Floats, Item, Sample, Suite, SuiteKind, ratio

QUESTION = "Please describe this image in detail."
LONGEST = 512
"""Tokens of a description."""

Phrase = tuple[str, ...]

SYNONYMS = """
person, people, man, woman, boy, girl, child, kid, baby, toddler, infant, teenager, adult, lady,
    gentleman, guy, male, female, human, pedestrian, player, athlete, rider, biker, cyclist, motorcyclist,
    skier, snowboarder, skateboarder, skater, surfer, swimmer, batter, pitcher, catcher, umpire, officer,
    policeman, policewoman, soldier, worker, chef, waiter, waitress, driver, passenger, tourist, student,
    mother, father, mom, dad, son, daughter, brother, sister, bride, groom, cowboy, fisherman, farmer,
    vendor, spectator, audience
bicycle, bike, cycle, tricycle
car, automobile, van, minivan, sedan, suv, hatchback, taxi, cab, jeep, station wagon, convertible, police
    car
motorcycle, motorbike, motor bike, motor cycle, scooter, moped, dirt bike
airplane, plane, aeroplane, air plane, aircraft, jet, jetliner, airliner, biplane, jumbo jet, fighter jet
bus, minibus, coach bus, school bus, trolleybus, double decker
train, locomotive, tram, streetcar, trolley, subway, freight train, caboose
truck, pickup, lorry, fire truck, firetruck, fire engine, tow truck, semi, trailer truck, dump truck
boat, ship, sailboat, canoe, kayak, ferry, yacht, raft, rowboat, gondola, motorboat, speedboat, barge,
    tugboat
traffic light, traffic signal, stop light, stoplight, street light, streetlight
fire hydrant, hydrant
stop sign
parking meter
bench, park bench
bird, duck, goose, gull, seagull, pigeon, parrot, owl, eagle, hawk, crow, sparrow, swan, penguin, chicken,
    hen, rooster, turkey, ostrich, flamingo, peacock, pelican, heron, finch, robin, hummingbird, parakeet
cat, kitten, kitty, tabby
dog, puppy, pup, poodle, terrier, bulldog, dalmatian, collie, retriever, labrador, beagle, dachshund,
    corgi, pug
horse, pony, foal, colt, stallion, mare
sheep, lamb, ram, ewe
cow, cattle, calf, bull, ox, steer, heifer
elephant
bear, panda, polar bear, grizzly, bear cub
zebra
giraffe
backpack, back pack, rucksack, knapsack
umbrella, parasol
handbag, hand bag, purse, pocketbook, clutch bag
tie, necktie, bow tie, bowtie
suitcase, suit case, luggage, baggage, trunk case
frisbee, flying disc
skis, ski
snowboard, snow board
sports ball, ball, baseball ball, basketball, football, soccer ball, tennis ball, volleyball
kite
baseball bat, bat
baseball glove, mitt, catcher's mitt, baseball mitt
skateboard, skate board
surfboard, surf board, longboard, paddleboard, bodyboard
tennis racket, racket, racquet, tennis racquet
bottle, wine bottle, beer bottle, water bottle
wine glass, wineglass, goblet
cup, mug, teacup, coffee cup
fork
knife, pocketknife
spoon
bowl, container
banana
apple
sandwich, burger, hamburger, cheeseburger, panini, sub sandwich
orange, tangerine, clementine
broccoli
carrot
hot dog, hotdog
pizza
donut, doughnut, bagel
cake, cheesecake, cupcake, shortcake, pancake, birthday cake, carrot cake
chair, seat, stool, armchair, recliner
couch, sofa, loveseat, futon, settee
potted plant, houseplant, pot plant, plant
bed, bunk bed, mattress
dining table, table, desk, coffee table, computer desk
toilet, toilet seat, urinal, commode
tv, television, television set, tv set, monitor
laptop, laptop computer, notebook computer, netbook, macbook, computer
mouse, computer mouse
remote, remote control
keyboard
cell phone, cellphone, mobile phone, phone, smartphone, iphone
microwave, microwave oven
oven, stove, stovetop, stove top oven
toaster, toaster oven
sink, washbasin
refrigerator, fridge, freezer
book
clock, alarm clock, wall clock
vase, flower vase
scissors
teddy bear, teddy, stuffed bear, teddybear
hair drier, hair dryer, hairdryer, blow dryer
toothbrush, tooth brush
"""
"""The objects of COCO, and other words for them."""

OTHERS = ("home plate", "train track")
"""Things of two words, one of which alone would be an object."""

_ANIMALS = (
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "animal",
    "cub",
)
_VEHICLES = ("jet", "train")
_YOUNG_OR_OLD = ("baby", "adult")
_IRREGULAR = {
    "person": "persons",
    "man": "men",
    "woman": "women",
    "gentleman": "gentlemen",
    "policeman": "policemen",
    "policewoman": "policewomen",
    "fisherman": "fishermen",
    "child": "children",
    "mouse": "mice",
    "goose": "geese",
    "knife": "knives",
    "pocketknife": "pocketknives",
    "calf": "calves",
    "ox": "oxen",
}
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
"""As ``cat`` and ``s`` of ``cat's``; ``t-shirt`` is one."""


class Vocabulary:
    """Which words are which objects.

    Args:
        synonyms: object → other words for it; the object itself need not be among them.
    """

    def __init__(self, synonyms: Mapping[str, Sequence[str]]) -> None:
        self.objects = list(synonyms)
        self._object_of: dict[Phrase, str | None] = {}
        for phrase in OTHERS:
            self._learn(phrase, None)
        for name, words in synonyms.items():
            for phrase in (name, *words):
                self._learn(phrase, name)
        for animal in _ANIMALS:
            for word in _YOUNG_OR_OLD:
                self._learn(f"{word} {animal}", self._object_of.get((animal,)))
        for vehicle in _VEHICLES:
            self._learn(f"passenger {vehicle}", self._object_of.get((vehicle,)))
        self._longest = max(map(len, self._object_of), default=0)

    def _learn(self, phrase: str, name: str | None) -> None:
        *before, last = _WORD.findall(phrase.lower())
        for form in (last, plural(last)):
            self._object_of[(*before, form)] = name

    def mentions(self, text: str) -> list[str]:
        """The objects that ``text`` mentions, in its order, an object as often as it is mentioned."""
        words, found, at = _WORD.findall(text.lower()), [], 0
        while at < len(words):
            for length in range(min(self._longest, len(words) - at), 0, -1):
                phrase = tuple(words[at : at + length])
                if phrase in self._object_of:
                    name = self._object_of[phrase]
                    found += [] if name is None else [name]
                    at += length
                    break
            else:
                at += 1
        return found


def plural(word: str) -> str:
    """The plural of an English noun."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if re.search(r"(?:[sxz]|[cs]h)$", word):
        return f"{word}es"
    return f"{word[:-1]}ies" if re.search(r"[^aeiou]y$", word) else f"{word}s"


def _listed(line: str) -> list[str]:
    return [phrase for part in line.split(",") if (phrase := part.strip())]


@cache
def own_vocabulary() -> Vocabulary:
    """That of :data:`SYNONYMS`."""
    lines = re.sub(r"\n +", " ", SYNONYMS).strip().split("\n")
    return Vocabulary({names[0]: names[1:] for names in map(_listed, lines)})


def read_vocabulary(file: Path) -> Vocabulary:
    """That of a file with a line for each object: its name, and other words for it, parted by commas.

    Raises:
        UserError: it cannot be read, or an object stands in it twice.
    """
    synonyms: dict[str, list[str]] = {}
    for where, line in text_lines(file):
        names = _listed(line)
        if not names or not all(_WORD.search(name) for name in names):
            raise UserError(f"{where} is {short(line)}; expected an object and other words for it, by commas")
        if names[0] in synonyms:
            raise UserError(
                f"{where} is of {names[0]!r}, as a line before; expected one line for each object"
            )
        synonyms[names[0]] = names[1:]
    if not synonyms:
        raise UserError(f"{str(file)!r} is empty; expected a line for each object")
    return Vocabulary(synonyms)


_LAYOUT = (
    "instances_val2014.json and captions_val2014.json (perhaps in annotations/), and val2014/ with the photos"
)


class Chair(Suite):
    """Descriptions of COCO photos.

    Args:
        vocabulary: which words are which objects.
        question: what is asked of each photo.
    """

    name = "chair"
    main = "CHAIR_i"

    def __init__(self, vocabulary: Vocabulary, question: str = QUESTION) -> None:
        self._vocabulary, self._question = vocabulary, question

    def items(self, data: Path | None) -> Iterator[Item]:
        given = require_data(data, self.name, _LAYOUT)
        instances = find_table(given, "instances_val2014.json", "instances_*.json")
        captions = instances.with_name(instances.name.replace("instances", "captions", 1))
        if captions == instances or not captions.is_file():
            raise UserError(
                f"there is no {captions.name.replace('instances', 'captions')!r} beside {str(instances)!r}; "
                "CHAIR needs instances_….json and captions_….json of the same photos"
            )
        content = json_object(instances)
        media = Media(instances, "val2014", "val2017", "train2014", "train2017", "images")
        photos = {
            key: media.path(image.where, image.text("file_name"))
            for key, image in by_id(content.rows("images"), "id").items()
        }
        present: dict[str, set[str]] = {key: set() for key in photos}
        names: dict[str, str] = {}
        for key, category in by_id(content.rows("categories"), "id").items():
            known = self._vocabulary.mentions(category.text("name"))
            if len(known) != 1:
                raise category.refused("name", "an object that the synonyms have")
            names[key] = known[0]
        for annotation in content.rows("annotations", empty=True):
            key, category_id = annotation.id("image_id"), annotation.id("category_id")
            if key not in present or category_id not in names:
                raise UserError(
                    f"{annotation.where} is of an image or a category that the file does not have"
                )
            present[key].add(names[category_id])
        for key, text in map(coco_caption, json_object(captions).rows("annotations")):
            if key in present:
                present[key].update(self._vocabulary.mentions(text))
        for key, photo in photos.items():
            request = {"question": self._question, "image": photo, "max_new_tokens": LONGEST}
            yield Item(key, request, sorted(present[key]))

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        return [self._judged(item.expected, answer) for item, answer in zip(items, answers, strict=True)]

    def _judged(self, present: Sequence[str], answer: Answer) -> Sample:
        mentioned = self._vocabulary.mentions(answer) if isinstance(answer, str) else []
        absent = [name for name in mentioned if name not in present]
        sums = {
            "n": 1,
            "mentions": len(mentioned),
            "absent": len(absent),
            "wrong": bool(absent),
            "present": len(present),
            "found": len(set(mentioned) & set(present)),
        }
        score = 1 - len(absent) / len(mentioned) if mentioned else None
        return Sample(sums, {"mentioned": mentioned, "absent": absent}, score)

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        return {
            "CHAIR_i": ratio(sums["absent"], sums["mentions"]),
            "CHAIR_s": ratio(sums["wrong"], sums["n"]),
            "recall": ratio(sums["found"], sums["present"]),
        }


def _make(
    question: Question = QUESTION,
    synonyms: Annotated[Path | None, "A file of synonyms in the paper's format, one line per object"] = None,
) -> Suite:
    """Count objects that descriptions of COCO photos mention although they are not there."""
    return Chair(own_vocabulary() if synonyms is None else read_vocabulary(synonyms), question)


CHAIR = SuiteKind(
    summary="Objects described that are not in the photo (CHAIR).",
    examples="imagebind-llm eval chair --data coco/ --items 500\n"
    "imagebind-llm eval chair --data coco/ --synonyms synonyms.txt",
    make=_make,
    facts=Facts(
        layout=_LAYOUT,
        metric="CHAIR_i, CHAIR_s (lower is better), recall",
        source="cocodataset.org; Rohrbach, Hendricks, Burns, Darrell and Saenko 2018",
        licence="annotations CC BY 4.0; photos under Flickr's terms",
    ),
)
