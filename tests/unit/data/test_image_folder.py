"""An image folder: what is chosen, what becomes of pixels, what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import GoogLeNet_Weights

from stagewise.data.image_folder import DEVIATION, MEAN, index_folder, load_images
from stagewise.errors import ConfigError

CLASSES = ["n00000002", "n00000010", "n00000111"]


@pytest.fixture
def folder(tmp_path):
    """Three classes of six images, one colour each."""
    for red, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for number in range(6):
            colour = (40 * red, 40 * number, 255)
            Image.new("RGB", (20, 30), colour).save(tmp_path / name / f"{number}.png")
    return tmp_path


def index(folder, **changes):
    return index_folder(folder, **{"per_class": 2, "seed": 0, "expected": 3} | changes)


def noise(path, mode="RGB", size=(300, 280)):
    """An image of noise in any mode."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    image.save(path)
    return path


def test_classes_are_sorted_and_ids_permanent(folder):
    """The order of the file system is anything; torchvision numbers classes by sorted names."""
    found = index(folder)
    assert found.classes == CLASSES
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.ids == [f"{path.parent.name}/{path.name}" for path in found.paths]
    assert found.ids == sorted(found.ids)


def test_the_choice_depends_on_seed_and_class_alone(folder):
    """Drawing classes from one stream would change all when a class is removed."""
    before = index(folder)
    assert index(folder).ids == before.ids
    assert any(index(folder, seed=seed).ids != before.ids for seed in range(1, 4))
    for path in (folder / CLASSES[0]).iterdir():
        path.unlink()
    (folder / CLASSES[0]).rmdir()
    assert index(folder, expected=2).ids == before.ids[2:]


def test_a_class_with_fewer_images_gives_all(folder):
    assert index(folder, per_class=100).labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6


def test_what_is_hidden_or_no_image_is_passed_over(folder):
    (folder / ".cache").mkdir()
    (folder / "ReadMe.txt").touch()
    (folder / CLASSES[0] / ".0.png").touch()
    (folder / CLASSES[0] / "list.txt").touch()
    assert len(index(folder, per_class=100).ids) == 18


def test_a_list_of_classes_can_be_expected(folder):
    assert index(folder, expected=CLASSES).classes == CLASSES
    with pytest.raises(ConfigError, match=r"lacks 1 .*n00000999.*has 0 others"):
        index(folder, expected=[*CLASSES, "n00000999"])
    with pytest.raises(ConfigError, match=r"lacks 0 .*has 1 others .*n00000111"):
        index(folder, expected=CLASSES[:2])


def test_a_thousand_classes_are_expected_unless_said_otherwise(folder):
    with pytest.raises(ConfigError, match="has 3 classes, 1000 are expected"):
        index_folder(folder, per_class=2, seed=0)


def test_bad_folders_are_refused(folder):
    with pytest.raises(ConfigError, match="no image folder"):
        index(folder / "nowhere")
    with pytest.raises(ConfigError, match="per_class is 0"):
        index(folder, per_class=0)
    (folder / "n00000200").mkdir()
    with pytest.raises(ConfigError, match="n00000200 has no images"):
        index(folder, expected=4)
    (folder / "tench").mkdir()
    with pytest.raises(ConfigError, match=r"no WordNet ids \(tench\)"):
        index(folder)


def test_pixels_are_what_torchvisions_weights_expect(tmp_path):
    """Resizing tensors in place of images, or without antialiasing, is off by some levels."""
    path = noise(tmp_path / "a.png")
    with Image.open(path) as image:
        expected = GoogLeNet_Weights.IMAGENET1K_V1.transforms()(image)
    found = load_images([path])
    assert found.shape == (1, 3, 224, 224)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-6)


def test_colours_are_normalised_channel_by_channel(folder):
    """Red, green and blue have means and deviations of their own, in this order."""
    path = folder / CLASSES[1] / "3.png"
    found = load_images([path], size=16)
    expected = (torch.tensor([40, 120, 255]) / 255 - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    torch.testing.assert_close(found[0], expected[:, None, None].expand(3, 16, 16))


@pytest.mark.parametrize(
    ("mode", "name"),
    [("L", "a.jpg"), ("CMYK", "a.jpg"), ("P", "a.png"), ("RGBA", "a.png"), ("LA", "a.png")],
)
def test_every_mode_becomes_rgb(mode, name, tmp_path):
    """ImageNet has grey and CMYK files; a missing channel would stop a run half way."""
    path = noise(tmp_path / name, mode)
    with Image.open(path) as image:
        assert image.mode == mode
        rgb = image.convert("RGB")
    rgb.save(tmp_path / "rgb.png")
    found = load_images([path, tmp_path / "rgb.png"], size=32)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_alpha_is_dropped(tmp_path):
    """Compositing on white or black would change what is behind it."""
    Image.new("RGBA", (40, 40), (200, 100, 50, 0)).save(tmp_path / "clear.png")
    Image.new("RGB", (40, 40), (200, 100, 50)).save(tmp_path / "full.png")
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "palette.png", transparency=1)
    names = ("clear", "full", "palette")
    found = load_images([tmp_path / f"{name}.png" for name in names], size=16)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[2], found[1])


def test_files_that_are_no_images_are_named(tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    cut = noise(tmp_path / "cut.png")
    cut.write_bytes(cut.read_bytes()[:3000])
    for path in (text, cut, tmp_path / "missing.png"):
        with pytest.raises(ConfigError, match=f"{path.name} can't be read"):
            load_images([path])


def test_deep_images_and_empty_requests_are_refused(tmp_path):
    """Pillow would clip 16 bits to 8: a white image."""
    Image.fromarray(np.full((40, 40), 1000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ConfigError, match="more than 8 bits"):
        load_images([tmp_path / "deep.png"])
    with pytest.raises(ConfigError, match="at least one"):
        load_images([])
    with pytest.raises(ConfigError, match="at least one"):
        load_images([tmp_path / "deep.png"], size=0)
