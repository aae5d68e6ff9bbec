"""Every source read as users have it: digits, parquet, image folder, function, and a hub data set once downloaded."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbam_search.data.config import DatasetConfig
from cbam_search.data.hub import source_of
from cbam_search.data.load import load
from cbam_search.data.planning import plan_splits
from cbam_search.errors import CodeNotAllowedError, DataError
from cbam_search.own_code import CodePermission


def loaded(allow_code: bool = False, **settings):
    return load(DatasetConfig.model_validate(settings), seed=0, code=CodePermission.of(allow_code))


def test_digits() -> None:
    data = loaded(source="digits")
    assert (data.channels, data.image_size, data.classes) == (1, (8, 8), 10)
    assert (len(data.train), len(data.validation), data.test_count) == (1437, 180, 180)
    assert data.train.images.max() == 255
    assert data.train.images.flags.c_contiguous
    assert data.mean[0] == pytest.approx(data.train.images.mean() / 255)
    assert data.std[0] == pytest.approx(data.train.images.std() / 255)


def test_cifar_parquet(cifar_file) -> None:
    data = loaded(source="parquet", train=str(cifar_file), validation_fraction=0.2)
    assert data.train.images.shape == (140, 3, 32, 32)
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(data.train.labels).tolist() == [14] * 10
    assert np.bincount(data.validation.labels).tolist() == [4] * 10
    assert data.test_count == 20
    assert data.storage == "memory"


def test_parquet_pixels_and_labels_belong_together(write_parquet, png) -> None:
    images = [png(seed) for seed in range(40)]
    labels = [seed * 7 % 3 for seed in range(40)]
    label_of = {np.asarray(Image.open(io.BytesIO(image))).tobytes(): label for image, label in zip(images, labels, strict=True)}
    images[1], images[30] = b"corrupt", images[2]  # rows that are left out must not shift the labels of the others
    labels[4], labels[30] = -1, labels[2]
    data = loaded(source="parquet", train=write_parquet(images, labels))
    assert 30 < len(data.train) + len(data.validation) < 36
    for split in (data.train, data.validation):
        assert [label_of[image.transpose(1, 2, 0).tobytes()] for image in split.images] == split.labels.tolist()


def test_parquet_files_by_pattern_and_own_splits(write_parquet, png, tmp_path) -> None:
    for number in range(3):
        write_parquet([png(number * 10 + seed) for seed in range(10)], [0, 1] * 5, f"train-{number}.parquet")
    write_parquet([png(100 + seed) for seed in range(6)], [0, 1] * 3, "val.parquet")
    config = {"source": "parquet", "train": str(tmp_path / "train-*.parquet"), "validation": str(tmp_path / "val.parquet")}
    data = loaded(**config, test_fraction=0.2)
    assert (len(data.train), len(data.validation), data.test_count) == (24, 6, 6)
    assert loaded(**config, test_fraction=0).test_count == 0


def test_parquet_mistakes_are_explained(write_parquet, png, tmp_path) -> None:
    path = write_parquet([png(0), png(1)], ["a", "b"], kind=["x", "y"])
    for settings, message in (
        ({"train": str(tmp_path / "no-*.parquet")}, "no file matches"),
        ({"train": path, "label_column": "lable"}, "no label column 'lable'. Columns: image, label, kind"),
        ({"train": path, "group_column": "patient"}, "no group column 'patient'"),
        ({"train": path, "image_column": "kind"}, "Column 'kind' holds string"),
    ):
        with pytest.raises(DataError, match=message):
            loaded(source="parquet", **settings)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="cannot be read"):
        loaded(source="parquet", train=str(tmp_path / "broken.parquet"))


@pytest.mark.parametrize("role", ["label", "group"])
def test_lists_are_neither_labels_nor_groups(role, write_parquet, png) -> None:
    train = write_parquet([png(seed) for seed in range(4)], [0, 1, 0, 1], tags=[[0, 1], [1], [0], [1, 2]])
    with pytest.raises(DataError, match=f"{role} column 'tags' holds list"):
        loaded(source="parquet", train=train, **{f"{role}_column": "tags"})


def test_an_image_path_in_a_parquet_file_cannot_leave_its_folder(tmp_path, png) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    outside = tmp_path / "secret.png"
    outside.write_bytes(png(99))
    rows = []
    for seed in range(20):
        (tmp_path / "in" / f"{seed}.png").write_bytes(png(seed))
        rows.append({"bytes": None, "path": f"{seed}.png"})
    rows[0]["path"] = str(outside)
    rows[1]["path"] = "../secret.png"
    pq.write_table(pa.table({"image": rows, "label": [0, 1] * 10}), tmp_path / "in" / "t.parquet")
    data = loaded(source="parquet", train=str(tmp_path / "in" / "t.parquet"), test_fraction=0)
    assert len(data.train) + len(data.validation) == 18
    assert any("2 of 20 images cannot be decoded" in note for note in data.notes)


def make_folder(root: Path, png, names: tuple[str, ...], count: int = 6, first_seed: int = 0) -> None:
    for place, name in enumerate(names):
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.png").write_bytes(png(first_seed + place * 100 + number))


def test_image_folder_with_splits(tmp_path, png) -> None:
    make_folder(tmp_path / "train", png, ("cat", "dog"))
    make_folder(tmp_path / "val", png, ("cat", "dog"), 2, 1000)
    make_folder(tmp_path / "test", png, ("cat", "dog"), 3, 2000)
    make_folder(tmp_path / "spare", png, ("cat",), 1, 3000)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    data = loaded(source="image_folder", path=str(tmp_path))
    assert (len(data.train), len(data.validation), data.test_count) == (12, 4, 6)
    assert data.class_names == ("cat", "dog")
    assert "Splits left unused: spare." in data.notes


def test_image_folder_without_splits_may_have_a_class_named_test(tmp_path, png) -> None:
    make_folder(tmp_path, png, ("test", "x"), 10)
    data = loaded(source="image_folder", path=str(tmp_path))
    assert data.class_names == ("test", "x")
    assert (len(data.train), len(data.validation), data.test_count) == (16, 2, 2)


def test_image_folder_takes_labels_and_groups_from_metadata(tmp_path, png) -> None:
    make_folder(tmp_path, png, ("all",), 30)
    rows = "".join(f"all/{number}.png,{'ab'[number % 2]},{number // 3}\n" for number in range(30))
    (tmp_path / "metadata.csv").write_text("file_name,kind,patient\n" + rows)
    data = loaded(source="image_folder", path=str(tmp_path), label_column="kind", group_column="patient")
    assert data.class_names == ("a", "b")
    assert len(data.train) % 3 == len(data.validation) % 3 == data.test_count % 3 == 0
    with pytest.raises(DataError, match=r"metadata\.csv has no column 'kynd'"):
        loaded(source="image_folder", path=str(tmp_path), label_column="kynd")


def test_image_folder_follows_links_but_never_in_circles(tmp_path, png) -> None:
    make_folder(tmp_path / "photos", png, ("cat", "dog"), 10)
    make_folder(tmp_path / "elsewhere", png, ("bird",), 10, 1000)
    (tmp_path / "photos" / "bird").symlink_to(tmp_path / "elsewhere" / "bird")
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name / "back").symlink_to(tmp_path / "photos")
    data = loaded(source="image_folder", path=str(tmp_path / "photos"))
    assert data.class_names == ("bird", "cat", "dog")
    assert len(data.train) + len(data.validation) + data.test_count == 30


def test_image_folder_counts_a_link_to_nothing_as_corrupt(tmp_path, png) -> None:
    make_folder(tmp_path, png, ("cat", "dog"), 10)
    for name in ("cat", "dog"):
        (tmp_path / name / "gone.png").symlink_to(tmp_path / "nowhere.png")
    data = loaded(source="image_folder", path=str(tmp_path), test_fraction=0)
    assert len(data.train) + len(data.validation) == 20
    assert any(note.startswith("2 of 22 images cannot be decoded") for note in data.notes)


def test_image_folder_explains_names_and_tables_that_are_not_utf8(tmp_path, png) -> None:
    make_folder(tmp_path, png, ("cat", "caf\udce9"), 10)
    with pytest.raises(DataError, match=r"class folder 'caf\\udce9' in .* is not UTF-8"):
        loaded(source="image_folder", path=str(tmp_path))
    (tmp_path / "metadata.csv").write_bytes(b"file_name,kind\ncat/1.png,caf\xe9\n")
    with pytest.raises(DataError, match=r"metadata\.csv, row 2: this is not UTF-8"):
        loaded(source="image_folder", path=str(tmp_path), label_column="kind")


def test_image_folder_empty_or_absent(tmp_path) -> None:
    refusals = {"": "holds no image file", "nowhere": "there is no folder", "$HOME/a": r"no folder .*written \$\{HOME\}\.$"}
    for name, message in refusals.items():
        with pytest.raises(DataError, match=message):
            loaded(source="image_folder", path=str(tmp_path / name))


@pytest.fixture
def my_images(tmp_path, monkeypatch):
    """Write the body of `mine_<n>:make` and get its name; the current folder is where it is found."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, result: str) -> str:
        lines = ["import numpy as np", "g = np.random.default_rng(0)", "x = g.integers(0, 256, (40, 6, 6), dtype=np.uint8)"]
        Path(f"{name}.py").write_text("\n".join([*lines, "y = np.arange(40) % 2", f"def make():\n    return {result}\n"]))
        return f"{name}:make"

    return write


def test_function_needs_permission_and_is_not_even_imported_without(my_images) -> None:
    name = my_images("mine_refused", "x, y")
    Path("mine_refused.py").write_text("raise SystemExit('imported')")
    with pytest.raises(CodeNotAllowedError, match="--allow-code"):
        loaded(source="function", function=name)


def test_function_returns_arrays(my_images) -> None:
    data = loaded(True, source="function", function=my_images("mine_pair", "x, y"))
    assert data.train.images.shape == (32, 1, 6, 6)
    splits = "'splits': ['train'] * 30 + ['val'] * 6 + ['test'] * 4"
    splits = "{'images': np.stack([x] * 3, 3), 'labels': y, 'class_names': ['a', 'b'], " + splits + "}"
    data = loaded(True, source="function", function=my_images("mine_splits", splits))
    assert (len(data.train), len(data.validation), data.test_count) == (30, 6, 4)
    assert (data.channels, data.class_names) == (3, ("a", "b"))


def test_labels_of_numpys_own_number_types_are_numbers(my_images) -> None:
    data = loaded(True, source="function", function=my_images("mine_objects", "x, np.array([*map(np.int64, y)], dtype=object)"))
    assert data.class_names == ("0", "1")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("x", "must return"),
        ("{'images': x}", "must return"),
        ("(x / 255, y)", "images are float64"),
        ("([x[0], x[1, :3]], [0, 1])", "images cannot be made one array"),
        ("(x, [[0], *y[1:]])", "labels cannot be made one array"),
        ("(x, y[:3])", r"labels has shape \(3,\)"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_function_that_returns_something_else(my_images, result, message) -> None:
    name = my_images("mine_" + hashlib.md5(result.encode()).hexdigest(), result)
    with pytest.raises(DataError, match=message):
        loaded(True, source="function", function=name)


def hub_data(png, **splits):
    """A DatasetDict as `load_dataset` gives it: split name -> (count, labels)."""
    import datasets

    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    return datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(
                {"img": [{"bytes": png(start + row), "path": None} for row in range(len(labels))], "label": labels},
                features=features,
            )
            for start, (name, labels) in zip(range(0, 10_000, 1000), splits.items(), strict=False)
        }
    )


def test_hub_splits_and_class_names(png) -> None:
    config = DatasetConfig(source="hub", name="someone/something")
    source = source_of(hub_data(png, train=[0, 1, 2] * 8, valid=[0, 1, 2], extra=[0]), config)
    plan = plan_splits(source, config, seed=0)
    assert {name: len(split) for name, split in plan.splits.items()} == {"train": 22, "validation": 3, "test": 2}
    assert plan.class_names == ("a", "b", "c")
    assert "Splits left unused: extra." in plan.notes
    items = list(plan.splits["train"].items())
    assert items == [png(row) for row in plan.splits["train"].rows]


def test_hub_test_split_without_labels_is_not_a_test_split(png) -> None:
    config = DatasetConfig(source="hub", name="someone/something")
    plan = plan_splits(source_of(hub_data(png, train=[0, 1, 2] * 8, test=[-1] * 5), config), config, seed=0)
    assert len(plan.splits["test"]) == 2
    assert "The source's test split has no labels and is left unused." in plan.notes


def test_hub_out_of_reach_is_explained(monkeypatch, tmp_path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="could not be loaded from the Hugging Face hub"):
        loaded(source="hub", name="someone/something")
    monkeypatch.chdir(tmp_path)
    Path("mnist").mkdir()
    with pytest.raises(DataError, match="also a file or folder here"):
        loaded(source="hub", name="mnist")
