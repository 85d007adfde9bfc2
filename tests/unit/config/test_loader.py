from pathlib import Path

import pytest

from meshlab.config.loader import FLAGS, Loaded, keys, load
from meshlab.config.settings import CREDENTIALS, LabConfig

NUMBERS = ("_ms", "seconds", "timeout", "nodes", "interval", "requests")


def load_with(tmp_path: Path, text: str = "", flags: dict | None = None, sets=(), environ=None) -> Loaded:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    return load(flags or {}, sets, path, environ or {})


def said(loaded: Loaded) -> str:
    return "\n".join(str(problem) for problem in loaded.problems)


def test_nothing_given_is_all_defaults() -> None:
    loaded = load({}, environ={"PATH": "/bin", "MESHLABS": "not ours"})
    assert loaded.config == LabConfig()
    assert loaded.problems == []


def test_flags_win_over_set_over_variables_over_the_file(tmp_path: Path) -> None:
    file = "local: {nodes: 1, name: of-file, network: '10.1', start_timeout: 11}\nkeep: true\n"
    environ = {"MESHLAB_LOCAL__NODES": "2", "MESHLAB_LOCAL__NAME": "of-env", "MESHLAB_LOCAL__NETWORK": "10.2"}
    sets = ["local.nodes=3", "local.name=of-set"]
    config = load_with(tmp_path, file, {"local.nodes": "4"}, sets, environ).config
    assert config.local.model_dump(include={"nodes", "name", "network", "start_timeout"}) == {
        "nodes": 4,
        "name": "of-set",
        "network": "10.2",
        "start_timeout": 11,
    }
    assert config.keep


@pytest.mark.parametrize("key", [key for key in keys() if key not in ("cluster", "images")])
def test_every_setting_is_a_file_key_a_variable_and_a_set_key(tmp_path: Path, key: str) -> None:
    value = {
        "traffic.gentle_interval": "[1, 3]",
        "checks.optional": '["kiali.graph"]',
        "local.image_archives": '["images.tar"]',
        "local.network": "10.9",
        "local.network_policy": "true",
        "local.cni": "true",
        "gke.zone": "europe-west1-b",
        "gke.disk_gb": "64",
        "gke.version": "1.33",
        "gke.hours_to_live": "6",
        "gke.cost_ceiling": "6",
        "gke.hourly_price": "6",
        "gke.access": "dns",
        "gke.spot": "true",
        "gke.workload_identity": "true",
        "gke.dataplane_v2": "true",
        "gke.autopilot": "true",
        "gke.api_endpoint": "127.0.0.1:1",
        "gke.compute_endpoint": "127.0.0.1:2",
        "istio.distribution": "release",
        "istio.version": "1.21.0",
        "keep": "true",
        "security.bypass": "true",
        "security.restarts": "true",
        "security.rotation": "true",
        "serve": "true",
        "security.gateway_api": "true",
        "keep_on_failure": "true",
        "allow_changes": "true",
        "local.nodes": "2",
        "load.profile": "50,8,30s",
        "load.pods": "2",
        "pages.port": "8080",
        "local.pull": "never",
        "local.registry_mirrors": '{"*": "http://127.0.0.1:5000"}',
        "local.inotify_instances": "512",
        "local.cluster_domain": "corp.local",
        "audit.accepted": '[{"rule": "limits", "resource": "Pod a/b", "reason": "measured here", "expires": "2027-01-31"}]',
        "audit.accept_lab": "false",
        "audit.namespaces": '["shop"]',
        "audit.certificate_days": "7",
        "history.every_hours": "6",
        "report.publish": "s3://reports/mesh",
        "app.labels": '{"team": "mesh"}',
        "app.pull_secrets": '["corp"]',
        "app.scheduling.node_selector": '{"pool": "lab"}',
        "app.scheduling.tolerations": '[{"key": "lab", "operator": "Exists"}]',
        "tracing.api": "zipkin",
        **{f"{name}.url": "https://metrics.test/prefix" for name in CREDENTIALS},
        **{f"{name}.service": "monitoring/metrics:9090/prefix" for name in CREDENTIALS},
    }.get(key, "6" if key.endswith(NUMBERS) else "abc")
    *sections, leaf = key.split(".")
    quoted = value if value.startswith(("[", "{")) else f"'{value}'"
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(sections)]
    text = "\n".join([*lines, f"{'  ' * len(sections)}{leaf}: {quoted}"]) + "\n"
    variable = "MESHLAB_" + key.upper().replace(".", "__")
    ways = [
        load_with(tmp_path, text),
        load({}, environ={variable: value}),
        load({}, [f"{key}={value}"], environ={}),
    ]
    assert [way.problems for way in ways] == [[], [], []]
    assert ways[0].config == ways[1].config == ways[2].config != LabConfig()


def test_every_flag_is_a_setting_with_a_description() -> None:
    described = keys()
    assert set(FLAGS) <= set(described)
    assert all(described.values())


def test_an_empty_variable_and_an_empty_section_say_nothing(tmp_path: Path) -> None:
    loaded = load_with(tmp_path, "local:\nkeep:\n", environ={"MESHLAB_APP__NAMESPACE": ""})
    assert loaded == Loaded(LabConfig())


def test_variables_may_be_written_small() -> None:
    assert load({}, environ={"meshlab_local__nodes": "1"}).config.local.nodes == 1


def test_all_problems_of_all_sources_come_at_once_each_with_its_place_and_remedy(tmp_path: Path) -> None:
    loaded = load_with(
        tmp_path,
        "local: {nodes: many}\nistio: {version: 1.30}\nprofil: demo\napp: shop\n",
        {"cluster": "mars"},
        [
            "keep=maybe",
            "gke.nodes",
            "checks.optional=kiali.graph",
            "traffic.gentle_interval=[2, 1]",
            "prometheus=[a",
        ],
        {
            "MESHLAB_LOCAL__NODEZ": "3",
            "MESHLAB_CLUSTR": "local",
            "MESHLAB_CHECKS__OPTIONAL": "[",
            "MESHLAB_IMAGES": "mine",
        },
    )
    path = tmp_path / "lab.yaml"
    assert [(problem.where, problem.what) for problem in loaded.problems] == [
        (f"app in {path}", "is a section, not one value: 'shop'"),
        ("MESHLAB_CLUSTR", "is no setting"),
        ("MESHLAB_CHECKS__OPTIONAL", "is no valid JSON: '['"),
        ("--set gke.nodes", "is not KEY=VALUE"),
        ("--set prometheus", "is neither a list nor a mapping"),
        ("--cluster", "unknown value 'mars'"),
        ("--set keep", "input should be a valid boolean, unable to interpret input, not 'maybe'"),
        ("MESHLAB_IMAGES", "unknown value 'mine'"),
        (
            f"local.nodes in {path}",
            "input should be a valid integer, unable to parse string as an integer, not 'many'",
        ),
        ("MESHLAB_LOCAL__NODEZ", "is no setting"),
        (f"istio.version in {path}", "input should be a valid string, not '1.3'"),
        (
            "--set traffic.gentle_interval",
            "needs two numbers between 0.05 and 60, the smaller first",
        ),
        ("--set checks.optional", "input should be a valid tuple, not 'kiali.graph'"),
        (f"profil in {path}", "is no setting"),
    ]
    remedies = {problem.where: problem.remedy for problem in loaded.problems}
    assert all(remedies.values())
    assert remedies["--cluster"] == "one of: 'local', 'existing' or 'gke'"
    assert remedies["MESHLAB_CLUSTR"] == "did you mean cluster?"
    assert remedies["MESHLAB_LOCAL__NODEZ"].startswith("did you mean local.nodes")
    assert "istio.profile" in remedies[f"profil in {path}"]
    assert remedies[f"istio.version in {path}"].startswith("put it in quotes")
    assert remedies["--set checks.optional"].startswith("write a list, as in [a, b]")


def test_what_is_right_still_counts_beside_what_is_wrong(tmp_path: Path) -> None:
    loaded = load_with(tmp_path, "istio: {profile: minimal}", {"local.nodes": "0", "runs_dir": "elsewhere"})
    assert loaded.spoiled == {"local", "local.nodes"}
    assert loaded.config.istio.profile == "minimal"
    assert loaded.config.runs_dir == Path("elsewhere")


def test_the_last_source_s_mistake_is_the_one_that_is_named(tmp_path: Path) -> None:
    loaded = load_with(tmp_path, "keep: nope\nlocal: {nodes: x}", {"keep": "true"}, ["local.nodes=99"])
    assert [problem.where for problem in loaded.problems] == ["--set local.nodes"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a: [1, 2\nb: 3", "is no valid YAML at line 2, column 2"),
        (b"- a\n- b\n", "holds no mapping of settings"),
        (b"just words", "holds no mapping of settings"),
        (b"\xff\xfe\x00", "can't be read: is no UTF-8 text"),
        (b"1: 2\n", "is no setting"),
        (b"x: !!python/object:os.system {}\n", "is no valid YAML at line 1, column 4"),
    ],
)
def test_a_malformed_file_is_named_with_what_is_wrong(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(content)
    loaded = load({}, config_file=path, environ={})
    assert [problem.what for problem in loaded.problems] == [what]
    assert str(path) in said(loaded)


def test_an_unreadable_file_does_not_hide_other_problems(tmp_path: Path) -> None:
    loaded = load({"cluster": "mars"}, config_file=tmp_path / "none.yaml", environ={})
    assert [problem.where for problem in loaded.problems] == [
        f"--config {tmp_path / 'none.yaml'}",
        "--cluster",
    ]
    assert "can't be read: No such file or directory" in said(loaded)
    assert "can't be read: Is a directory" in said(load({}, config_file=tmp_path, environ={}))


def test_lists_and_sections_can_be_set_whole() -> None:
    sets = ["local={nodes: 1, name: lab}", "checks.optional=[kiali.graph, a.b]"]
    config = load({}, sets, environ={"MESHLAB_GKE": '{"nodes": 4}'}).config
    assert (config.local.nodes, config.local.name, config.gke.nodes) == (1, "lab", 4)
    assert config.checks.optional == ("kiali.graph", "a.b")


def test_an_address_of_ipv6_is_no_list() -> None:
    loaded = load({}, ["gke.api_endpoint=[::1]:8080"], environ={})
    assert loaded.problems == [] and loaded.config.gke.api_endpoint == "[::1]:8080"


@pytest.mark.parametrize(
    "given",
    [
        "prometheus.url=metrics.test",
        "prometheus.url=https://me:verysecret@metrics.test/",
        "prometheus.url=https://metrics.test/?token=verysecret",
        "tracing.service=jaeger",
        "tracing.service=istio-system/jaeger",
        "tracing.service=istio-system/jaeger:http",
        "grafana.service=../../x:1",
    ],
)
def test_a_place_that_is_none_is_named_and_no_password_repeated(given: str) -> None:
    loaded = load({}, [given], environ={})
    assert len(loaded.problems) == 1 and given.partition("=")[0] in str(loaded.problems[0])
    if "me:verysecret" in given:
        assert "verysecret" not in str(loaded.problems[0])


def test_a_url_and_a_service_are_two_places() -> None:
    sets = ["kiali.url=https://kiali.test", "kiali.service=istio-system/kiali:20001"]
    assert ["kiali.service" in str(problem) for problem in load({}, sets, environ={}).problems] == [True]
