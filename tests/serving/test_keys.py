"""API keys: stored as hashes, found by their own name only, removed while a server runs."""

import hashlib
import hmac
import json
import os
import stat

import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.serving import keys
from imagebind_llm.serving.keys import FROM_VARIABLE, VARIABLE, KeyRing, names, new_key, remove


def test_only_the_hash_is_stored(tmp_path):
    file = tmp_path / "keys.json"
    key = new_key(file, "ada")
    assert key.startswith("ibl-")
    assert len(key) == 4 + 43
    text = file.read_text()
    assert key not in text
    assert key[4:] not in text
    assert json.loads(text)["ada"]["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_keys_are_found_by_name(tmp_path):
    file = tmp_path / "keys.json"
    made = {name: new_key(file, name) for name in ("ada", "bob", "eve")}
    ring = KeyRing(file, {})
    assert ring
    assert {name: ring.check(key) for name, key in made.items()} == {name: name for name in made}
    for wrong in (
        "",
        "ibl-",
        made["ada"][:-1],
        made["ada"] + "x",
        made["ada"].upper(),
        "schlüssel",
        "\udcff",
    ):
        assert ring.check(wrong) is None
    assert list(names(file)) == ["ada", "bob", "eve"]


def test_every_key_is_compared(tmp_path, monkeypatch):
    file = tmp_path / "keys.json"
    first, *_ = [new_key(file, name) for name in ("ada", "bob", "eve")]
    ring, compared = KeyRing(file, {}), []

    def counted(a: bytes, b: bytes) -> bool:
        compared.append(len(a))
        return hmac_compare(a, b)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(keys.hmac, "compare_digest", counted)
    for presented in (first, "nothing"):
        compared.clear()
        ring.check(presented)
        assert compared == [32, 32, 32]


def test_a_removed_key_ends_at_once(tmp_path):
    file = tmp_path / "keys.json"
    ada, bob = new_key(file, "ada"), new_key(file, "bob")
    ring = KeyRing(file, {})
    remove(file, "ada")
    assert ring.check(ada) is None
    assert ring.check(bob) == "bob"
    new = new_key(file, "ada")
    assert ring.check(new) == "ada"
    file.write_text("{")
    assert ring.check(bob) == "bob", "a damaged file must not lock everybody out"
    file.unlink()
    assert ring.check(bob) is None
    assert ring, "a server that asked for keys must not open when its file is gone"


def test_the_environment_has_one_more(tmp_path):
    file = tmp_path / "keys.json"
    ada = new_key(file, "ada")
    given = "sk-0123456789abcdefghij"
    ring = KeyRing(file, {VARIABLE: given})
    assert ring.check(given) == FROM_VARIABLE
    assert ring.check(ada) == "ada"
    assert not KeyRing(None, {})
    assert not KeyRing(None, {VARIABLE: ""})
    for bad in ("short", "a" * 19, "a key with spaces in it", "ключ" * 10):
        with pytest.raises(UserError) as caught:
            KeyRing(None, {VARIABLE: bad})
        assert bad not in str(caught.value)


@pytest.mark.parametrize("name", ["", ".x", "a b", "a/b", "../a", "a" * 65, "ü", FROM_VARIABLE, "a\n"])
def test_names_that_are_none(tmp_path, name):
    with pytest.raises(UserError, match="cannot be the name"):
        new_key(tmp_path / "keys.json", name)
    assert not list(tmp_path.iterdir())


def test_a_name_is_given_once(tmp_path):
    file = tmp_path / "keys.json"
    key = new_key(file, "ada")
    with pytest.raises(UserError, match="has a key 'ada'"):
        new_key(file, "ada")
    with pytest.raises(UserError, match="no key 'bob'; its keys: ada"):
        remove(file, "bob")
    assert KeyRing(file, {}).check(key) == "ada"


GOOD = {"sha256": "0" * 64, "created": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 10_000,
        '{"ada": {}}',
        '{"ada": "x"}',
        json.dumps({"ada": {**GOOD, "sha256": "0" * 63}}),
        json.dumps({"ada": {**GOOD, "sha256": "Z" * 64}}),
        json.dumps({"ada": {**GOOD, "sha256": 7}}),
        json.dumps({"ada": {**GOOD, "more": ""}}),
        json.dumps({"": GOOD}),
        json.dumps({FROM_VARIABLE + "\n": GOOD}),
        f'{{"ada": {json.dumps(GOOD)}, "ada": {json.dumps(GOOD)}}}',
    ],
)
def test_damaged_files_are_one_line(tmp_path, text):
    file = tmp_path / "keys.json"
    file.write_text(text)
    for action in (lambda: KeyRing(file, {}), lambda: new_key(file, "b"), lambda: names(file)):
        with pytest.raises(UserError, match="is damaged") as caught:
            action()
        assert "\n" not in str(caught.value)
    assert file.read_text() == text


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        KeyRing(tmp_path / "keys.json", {})
    with pytest.raises(UserError, match="cannot be read"):
        names(tmp_path)
    assert os.listdir(tmp_path) == []
