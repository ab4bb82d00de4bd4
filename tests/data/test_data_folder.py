"""A folder of images, made here with Pillow, in all the ways image files differ."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigan.data import DataError, load_folder, load_image


def paint(path, color, size=(12, 12), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).convert(mode).save(path)


def test_files_come_in_sorted_order_and_in_rgb(tmp_path):
    paint(tmp_path / "d.JPG", (250, 250, 250))
    paint(tmp_path / "b.png", (200, 200, 200), mode="L")
    paint(tmp_path / "a.png", (255, 0, 0), mode="P")
    paint(tmp_path / "c.bmp", (0, 0, 255), size=(30, 7))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._a.png").write_text("what a Mac leaves behind")
    data = load_folder(tmp_path, 8, progress=False)
    assert data.images.shape == (4, 8, 8, 3) and data.images.dtype == np.uint8
    assert data.labels is None and data.classes == () and data.name == tmp_path.name
    wanted = [(255, 0, 0), (200, 200, 200), (0, 0, 255), (250, 250, 250)]
    assert np.abs(data.images[:, 4, 4].astype(int) - wanted).max() <= 2


def test_the_square_in_the_middle_is_kept(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 90
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    Image.fromarray(pixels.transpose(1, 0, 2)).save(tmp_path / "tall.png")
    assert (load_folder(tmp_path, 10, progress=False).images == 90).all()
    # Halved in size, the pixels at the edge see a little of their neighbours outside.
    halved = load_folder(tmp_path, 5, progress=False).images
    assert np.abs(halved.astype(int) - 90).max() < 9


def test_what_is_transparent_gets_white(tmp_path):
    pixels = np.zeros((6, 6, 4), np.uint8)
    pixels[:, 3:, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    image = load_folder(tmp_path, 6, progress=False).images[0]
    assert (image[:, :3] == 255).all() and (image[:, 3:] == 0).all()


def test_a_photograph_held_upright_stands_upright(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4] = 255  # white on the left; turned a quarter clockwise, white on top
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    image = load_folder(tmp_path, 8, progress=False).images[0]
    assert (image[:4] == 255).all() and (image[4:] == 0).all()


def test_sub_folders_are_classes(tmp_path):
    paint(tmp_path / "dog" / "1.png", (1, 1, 1))
    paint(tmp_path / "cat" / "deep" / "2.png", (2, 2, 2))
    paint(tmp_path / "cat" / "1.png", (3, 3, 3))
    data = load_folder(tmp_path, 4, progress=False)
    assert data.classes == ("cat", "dog") and data.labels.tolist() == [0, 0, 1]
    assert data.images[:, 0, 0, 0].tolist() == [3, 2, 1]
    paint(tmp_path / "loose.png", (4, 4, 4))
    assert load_folder(tmp_path, 4, progress=False).labels is None


def test_the_name_is_that_of_the_folder_however_it_is_spelt(tmp_path, monkeypatch):
    paint(tmp_path / "cats" / "sub" / "1.png", (1, 1, 1))
    monkeypatch.chdir(tmp_path / "cats" / "sub")
    for spelt in ("../../cats", "..", "../", "../sub/.."):
        assert load_folder(spelt, 2, progress=False).name == "cats"
    assert load_folder(".", 2, progress=False).name == "sub"


def test_links_to_folders_are_followed_and_none_goes_round(tmp_path):
    pool, data = tmp_path / "pool", tmp_path / "data"
    for n in (1, 2):
        paint(pool / "deep" / f"{n}.png", (n, n, n))
    paint(data / "dog" / "3.png", (3, 3, 3))
    (data / "cat").symlink_to(pool)
    (data / "bird.png").symlink_to(pool / "deep")  # a folder, whatever it is called
    (pool / "up").symlink_to(data)
    (pool / "here").symlink_to(".")
    (data / "dog" / "own").symlink_to(data / "dog")
    (data / "dog" / "4.png").symlink_to(pool / "deep" / "1.png")
    found = load_folder(data, 2, progress=False)
    assert found.classes == ("bird.png", "cat", "dog")
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.images[:, 0, 0, 0].tolist() == [1, 2, 1, 2, 3, 1]


@pytest.mark.parametrize("name", ["cat", "1.png"])
def test_a_link_to_nowhere_is_named(tmp_path, name):
    paint(tmp_path / "dog" / "1.png", (1, 1, 1))
    (tmp_path / name).symlink_to(tmp_path / "no disk")
    with pytest.raises(DataError, match=rf"{name}: a link to nowhere \(.*no disk\)"):
        load_folder(tmp_path, 8)


def test_a_folder_that_may_not_be_opened_is_named(tmp_path, monkeypatch):
    paint(tmp_path / "dog" / "1.png", (1, 1, 1))
    look = Path.iterdir

    def refused(folder):  # permissions do not stop root, as whom the tests may run
        if folder.name == "dog":
            raise PermissionError(13, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(DataError, match="dog: cannot be opened: Permission denied"):
        load_folder(tmp_path, 8)


def test_idx_files_are_not_called_no_images(tmp_path):
    for name in ("emnist-letters-train-images-idx3-ubyte.gz", "a.idx"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        (tmp_path / "sub" / name).write_bytes(b"")
        with pytest.raises(DataError, match=r"IDX files such as sub.*mnist/") as caught:
            load_folder(tmp_path, 8)
        assert "no images" not in str(caught.value)
        (tmp_path / "sub" / name).unlink()


def test_mistakes_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        load_folder(tmp_path / "nowhere", 8)
    with pytest.raises(DataError, match=r"no images here or below.*\.png, \.jpg"):
        load_folder(tmp_path, 8)
    with pytest.raises(ValueError, match="size 0"):
        load_folder(tmp_path, 0)


def test_a_broken_file_is_named(tmp_path):
    paint(tmp_path / "good.png", (9, 9, 9), size=(64, 64))
    whole = (tmp_path / "good.png").read_bytes()
    for content in (b"", b"no image", whole[: len(whole) // 2]):
        (tmp_path / "broken.png").write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.png: cannot be read as an image"):
            load_folder(tmp_path, 8, progress=False)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("a.png", "uint16"), ("a.tif", ">u2"), ("a.tif", "int32"), ("a.tif", "float32")],
)
def test_deep_pixels_are_refused_rather_than_clipped(tmp_path, name, dtype):
    Image.fromarray(np.full((4, 4), 30_000, dtype)).save(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: .*8 bits a channel"):
        load_folder(tmp_path, 4, progress=False)


def test_of_16_bits_a_colour_the_upper_8_count(tmp_path):
    """As Pillow reads them: 0x80FF is 128 and 300 is 1, where clipping would make 255 of either."""
    (tmp_path / "deep.ppm").write_bytes(b"P6 1 1 65535\n" + struct.pack(">3H", 0x80FF, 300, 65535))
    assert load_folder(tmp_path, 1, progress=False).images.ravel().tolist() == [128, 1, 255]


def test_one_file_is_read_as_in_its_folder_or_in_grey(tmp_path):
    paint(tmp_path / "a.png", (255, 0, 0), size=(20, 12))
    image = load_image(tmp_path / "a.png", 8)
    np.testing.assert_array_equal(image, load_folder(tmp_path, 8, progress=False).images[0])
    grey = load_image(tmp_path / "a.png", 8, channels=1)
    assert grey.shape == (8, 8, 1) and abs(int(grey[4, 4, 0]) - 0.299 * 255) < 2
    with pytest.raises(DataError, match=r"b\.png: cannot be read as an image"):
        load_image(tmp_path / "b.png", 8)
    with pytest.raises(ValueError, match="got 2 channels, wanted 1 or 3"):
        load_image(tmp_path / "a.png", 8, channels=2)
