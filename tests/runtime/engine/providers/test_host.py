"""The GPUs of a host are read from the kernel's own files."""

from pathlib import Path

from hazgate.engine.providers.host import amd_gpus


def _node(topology: Path, number: int, version: int) -> None:
    folder = topology / str(number)
    folder.mkdir(parents=True)
    (folder / "properties").write_text(
        f"cpu_cores_count 0\ngfx_target_version {version}\nvendor_id 4098\n", encoding="utf-8"
    )


def test_gpus_are_in_the_order_of_their_nodes_and_processors_are_none(tmp_path: Path) -> None:
    _node(tmp_path, 0, 0)
    _node(tmp_path, 2, 90402)
    _node(tmp_path, 10, 110001)
    _node(tmp_path, 3, 90010)
    assert amd_gpus(tmp_path) == ("gfx942", "gfx90a", "gfx1101")


def test_a_host_without_the_driver_has_no_gpu(tmp_path: Path) -> None:
    assert amd_gpus(tmp_path / "none") == ()
