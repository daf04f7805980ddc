"""Key sets: their file, their public form, and what is refused. Uses a temporary folder and nothing else."""

import json
import stat
from pathlib import Path

import pytest

from acl import keys
from acl.keys import Algorithm, BadKeys, KeySet, make_key


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_saved_set_is_the_same_and_nobody_elses(tmp_path: Path, algorithm: Algorithm) -> None:
    made = keys.load_or_make(tmp_path / "new" / "keys.json", algorithm)
    again = keys.load_or_make(tmp_path / "new" / "keys.json", algorithm)
    assert again.jwks() == made.jwks()
    assert again.signing.algorithm == algorithm
    assert stat.S_IMODE((tmp_path / "new" / "keys.json").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["keys.json"]


def test_what_a_crash_left_beside_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / ".keys.json.new").write_text("half a")
    assert keys.load_or_make(tmp_path / "keys.json").jwks() == keys.load(tmp_path / "keys.json").jwks()


def test_a_rotated_set_survives_its_file(tmp_path: Path) -> None:
    rotated = KeySet((make_key(),)).rotated(make_key("EdDSA"), now=100, overlap=50)
    keys.save(rotated, tmp_path / "keys.json")
    again = keys.load(tmp_path / "keys.json")
    assert [(key.kid, key.until) for key in again.keys] == [(key.kid, key.until) for key in rotated.keys]
    assert again.keys[1].until == 150


def test_the_public_form_has_no_secret() -> None:
    for entry in KeySet((make_key(), make_key("EdDSA"))).jwks()["keys"]:
        assert "d" not in entry
        assert entry["alg"] in ("ES256", "EdDSA")
        assert entry["kid"]


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys.load_or_make(path)
    path.chmod(0o640)
    with pytest.raises(BadKeys, match="chmod 600"):
        keys.load(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "d": "AA"}]}', "\0"])
def test_a_damaged_file_ends_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(BadKeys) as caught:
        keys.load(path)
    assert "\n" not in str(caught.value)
    assert json.dumps(str(path))[1:-1] in str(caught.value)
