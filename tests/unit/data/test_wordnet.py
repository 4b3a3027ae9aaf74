"""WordNet as a tree, on a small dictionary that the tests write, against NLTK's own reader."""

import warnings

import nltk
import numpy as np
import pytest
from nltk.corpus.reader.wordnet import WordNetCorpusReader

from stagewise.data.wordnet import WordNet, sense_counts, taxonomy
from stagewise.errors import ConfigError
from stagewise.evaluation.taxonomy import ancestry, wu_palmer
from stagewise.storage.items import from_arrays

HEADER = "  1 A dictionary made up for a test, in the format of WordNet 3.0 Copyright nobody  \n"
#: Hypernyms of each noun; "hound" has two, one of them on a shorter way to the root.
GRAPH = {
    "entity": [],
    "animal": ["entity"],
    "pet": ["animal"],
    "mammal": ["animal"],
    "canine": ["mammal"],
    "hound": ["canine", "pet"],
    "grey_wolf": ["canine"],
    "goldfish": ["pet"],
    "teapot": ["entity"],
}
FOREST = {**GRAPH, "hound": ["canine"]}


def write_dictionary(folder, graph, header=HEADER, instances=()):
    """Writes the nouns in WordNet's file format; returns the id of each.

    A line's length does not depend on the offsets in it, so one pass with zeros finds them.
    """
    offsets = dict.fromkeys(graph, 0)
    for _ in range(2):
        text = header
        for name, above in graph.items():
            offsets[name] = len(text.encode())
            symbol = "@i" if name in instances else "@"
            below = [one for one, parents in graph.items() if name in parents]
            pointers = [(symbol, one) for one in above] + [("~", one) for one in below]
            shown = " ".join(f"{mark} {offsets[one]:08d} n 0000" for mark, one in pointers)
            words = f"02 {name} 0 other_{name} 1"
            text += f"{offsets[name]:08d} 03 n {words} {len(pointers):03d} {shown} | made up  \n"
    folder.mkdir(exist_ok=True)
    (folder / "data.noun").write_text(text, encoding="utf-8", newline="\n")
    return {name: f"n{offset:08d}" for name, offset in offsets.items()}


def nltk_reader(folder, ids, monkeypatch):
    """NLTK's reader with the files that it wants besides; it reads below its own path only."""
    index = "".join(
        f"{lemma} n 1 0 1 0 {wnid[1:]}  \n"
        for name, wnid in ids.items()
        for lemma in (name, f"other_{name}")
    )
    (folder / "index.noun").write_text(index)
    (folder / "lexnames").write_text("".join(f"{k:02d}\tnoun.{k}\t1\n" for k in range(45)))
    for kind in ("adj", "adv", "verb"):
        for name in (f"data.{kind}", f"index.{kind}", f"{kind}.exc"):
            (folder / name).write_text("")
    (folder / "noun.exc").write_text("")
    monkeypatch.setattr(nltk.data, "path", [str(folder)])
    monkeypatch.setattr(WordNetCorpusReader, "map_wn", lambda *_: None)  # asks for other corpora
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WordNetCorpusReader(str(folder), None)


def labels(found):
    name = dict(zip(found.id, found.label, strict=True))
    return {name[one]: name.get(parent, "") for one, parent in zip(*found[:2], strict=True)}


def test_a_synset_is_read_at_its_byte(tmp_path):
    ids = write_dictionary(tmp_path / "dict", GRAPH)
    hound = WordNet(tmp_path / "dict").synset(ids["hound"])
    assert hound.lemmas == ("hound", "other hound")
    assert hound.hypernyms == (ids["canine"], ids["pet"])
    assert hound.sense_keys == ("hound%1:03:00::", "other_hound%1:03:01::")
    assert WordNet(tmp_path / "dict").synset(ids["grey_wolf"]).lemmas[0] == "grey wolf"


def test_the_tree_keeps_the_shortest_way_by_hand(tmp_path):
    """Following the first hypernym in the file would make the hound a canine."""
    ids = write_dictionary(tmp_path / "dict", GRAPH)
    wordnet = WordNet(tmp_path / "dict")
    assert wordnet.way(ids["hound"]) == [ids[one] for one in ("entity", "animal", "pet", "hound")]
    assert [wordnet.depth(ids[one]) for one in ("entity", "canine", "hound")] == [0, 3, 3]
    found = taxonomy(wordnet, [ids[one] for one in ("hound", "grey_wolf", "teapot")])
    assert labels(found) == {
        "entity": "",
        "animal": "entity",
        "pet": "animal",
        "mammal": "animal",
        "canine": "mammal",
        "hound": "pet",
        "grey wolf": "canine",
        "teapot": "entity",
    }


def test_the_tree_can_keep_the_longest_way(tmp_path):
    ids = write_dictionary(tmp_path / "dict", GRAPH)
    wordnet = WordNet(tmp_path / "dict", way="longest")
    assert wordnet.parent(ids["hound"]) == ids["canine"]
    assert wordnet.depth(ids["hound"]) == 4


def test_equally_short_ways_are_settled_by_the_smallest_id(tmp_path):
    """The order of pointers in the file must not matter."""
    graph = {"root": [], "left": ["root"], "right": ["root"], "leaf": ["right", "left"]}
    ids = write_dictionary(tmp_path / "dict", graph)
    for way in ("shortest", "longest"):
        assert WordNet(tmp_path / "dict", way).parent(ids["leaf"]) == ids["left"]


def test_instances_hang_below_their_kind(tmp_path):
    """Pointers @i lead up as @ does."""
    ids = write_dictionary(tmp_path / "dict", FOREST, instances=("teapot",))
    assert WordNet(tmp_path / "dict").parent(ids["teapot"]) == ids["entity"]


def test_parents_come_before_children_whatever_is_asked_for(tmp_path):
    ids = write_dictionary(tmp_path / "dict", GRAPH)
    wordnet = WordNet(tmp_path / "dict")
    wnids = [ids[one] for one in ("goldfish", "hound", "teapot", "pet")]
    found = taxonomy(wordnet, wnids)
    for place, parent in enumerate(found.parent):
        assert parent in (*found.id[:place], "")
    assert taxonomy(wordnet, wnids[::-1]) == found


def test_wu_palmer_on_the_tree_is_nltks_own(tmp_path, monkeypatch):
    """Both count the root's depth as 1; where each noun has one hypernym they agree exactly."""
    ids = write_dictionary(tmp_path / "dict", FOREST)
    reader = nltk_reader(tmp_path / "dict", ids, monkeypatch)
    names = ["hound", "grey_wolf", "goldfish", "teapot"]
    found = taxonomy(WordNet(tmp_path / "dict"), [ids[one] for one in names])
    items = from_arrays(id=found.id, parent=found.parent, label=found.label)
    ours = wu_palmer(ancestry(items, [ids[one] for one in names]))
    synsets = [reader.synset_from_pos_and_offset("n", int(ids[one][1:])) for one in names]
    theirs = [[one.wup_similarity(other) for other in synsets] for one in synsets]
    np.testing.assert_allclose(ours, theirs, rtol=1e-15)


@pytest.mark.parametrize("graph", [GRAPH, FOREST], ids=["graph", "tree"])
def test_lemmas_hypernyms_and_depths_are_nltks_own(graph, tmp_path, monkeypatch):
    ids = write_dictionary(tmp_path / "dict", graph)
    reader = nltk_reader(tmp_path / "dict", ids, monkeypatch)
    shortest, longest = (WordNet(tmp_path / "dict", way) for way in ("shortest", "longest"))
    for wnid in ids.values():
        theirs = reader.synset_from_pos_and_offset("n", int(wnid[1:]))
        ours = shortest.synset(wnid)
        assert [one.replace(" ", "_") for one in ours.lemmas] == theirs.lemma_names()
        assert {int(one[1:]) for one in ours.hypernyms} == {
            one.offset() for one in theirs.hypernyms()
        }
        assert [one.key() for one in theirs.lemmas()] == list(ours.sense_keys)
        assert shortest.depth(wnid) == theirs.min_depth()
        assert longest.depth(wnid) == theirs.max_depth()


def test_counts_of_senses_are_added_over_a_nouns_words(tmp_path):
    ids = write_dictionary(tmp_path / "dict", GRAPH)
    (tmp_path / "dict" / "cntlist.rev").write_text(
        "hound%1:03:00:: 1 5\nhound%2:03:00:: 1 100\nother_hound%1:03:01:: 2 3\n"
    )
    wordnet = WordNet(tmp_path / "dict")
    assert sense_counts(wordnet, [ids["teapot"], ids["hound"]]) == [0, 8]


def test_a_missing_dictionary_names_the_package_and_the_download(tmp_path):
    for words in ("wordnet-base", "wordnet.princeton.edu", "data.noun"):
        with pytest.raises(ConfigError, match=words):
            WordNet(tmp_path)
    ids = write_dictionary(tmp_path / "dict", GRAPH)
    with pytest.raises(ConfigError, match="cntlist.rev"):
        sense_counts(WordNet(tmp_path / "dict"), ids.values())


def test_another_version_is_refused(tmp_path):
    """Offsets of 3.1 are other nouns, or none."""
    write_dictionary(tmp_path / "dict", GRAPH, header=HEADER.replace("3.0", "3.1"))
    with pytest.raises(ConfigError, match="is WordNet 3.1"):
        WordNet(tmp_path / "dict")


def test_ids_that_are_no_nouns_are_refused(tmp_path):
    """The middle of a line, past the end, an adjective's id, no id."""
    ids = write_dictionary(tmp_path / "dict", GRAPH)
    wordnet = WordNet(tmp_path / "dict")
    within = f"n{int(ids['pet'][1:]) + 1:08d}"
    for unknown in (within, "n99999999", "n00000000"):
        with pytest.raises(ConfigError, match=f"no noun {unknown}"):
            wordnet.synset(unknown)
    for bad in ("a00001740", "n1740", ""):
        with pytest.raises(ConfigError, match="eight digits"):
            wordnet.synset(bad)


def test_circles_broken_lines_and_bad_requests_are_refused(tmp_path):
    ids = write_dictionary(tmp_path / "dict", {"hen": ["egg"], "egg": ["hen"]})
    with pytest.raises(ConfigError, match="lead back"):
        WordNet(tmp_path / "dict").way(ids["hen"])
    (tmp_path / "dict" / "data.noun").write_text("00000000 03 n zz\n")
    with pytest.raises(ConfigError, match="format"):
        WordNet(tmp_path / "dict").synset("n00000000")
    for wnids in ([], [ids["hen"]] * 2):
        with pytest.raises(ConfigError, match="each once"):
            taxonomy(WordNet(tmp_path / "dict"), wnids)
