# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user left open is filled as docker would; what cannot be is refused, by name, before anything is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Conflict, InvalidOption, NotFound
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import Cgroup
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import (
    Attachment,
    Container,
    ContainerState,
    Namespaces,
    Port,
    Security,
    WantedContainer,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image, ImageConfig
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Network
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.ipam import assign_address
from ansible_collections.stowage.engine.plugins.module_utils._engine.resolve import resolve_containers
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.defaults import DEFAULT_PATH

SITE = "docker.io/library/site:1"
CONFIG = ImageConfig(
    entrypoint=("tini", "--"),
    command=("httpd", "-f"),
    env=(("PATH", "/app"), ("MODE", "quiet")),
    working_dir="/www",
    user="www",
    stop_signal="SIGQUIT",
)
BARE = "docker.io/library/bare:latest"
IMAGES = {SITE: Image(SITE, digest="sha256:aa", config=CONFIG), BARE: Image(BARE, digest="sha256:bb")}
NETWORKS = {
    "frontend": Network("frontend", "10.88.0.0/24", "10.88.0.1", 1500, "10.88.0.0/24"),
    "tiny": Network("tiny", "10.99.0.0/30", "10.99.0.1", 1500, "10.99.0.0/30"),
}


def want(name: str = "web", *, image: str = SITE, **more: Any) -> WantedContainer:
    """A wanted container; fields of the model's Container and of WantedContainer may be given alike."""
    own = {key: more.pop(key) for key in tuple(more) if key in WantedContainer.__dataclass_fields__}
    return WantedContainer(Container(name, image, **more), **own)


def resolve(
    *wanted: WantedContainer,
    there: tuple[Container, ...] = (),
    absent: tuple[str, ...] = (),
    images: dict[str, Image] | None = None,
) -> Any:
    return resolve_containers(
        {**{one.container.name: one for one in wanted}, **dict.fromkeys(absent)},
        containers={one.name: ContainerState(one, pid=7) for one in there},
        images=images or IMAGES,
        networks=NETWORKS,
        cgroups={"shop": Cgroup("shop")},
    )


def attached(name: str, address: str = "", network: str = "frontend") -> Container:
    return Container(name, SITE, networks=(Attachment(network, address),))


def address_of(container: Container) -> str:
    return container.networks[0].address


# What is missing -------------------------------------------------------------------------------------


def test_a_missing_image_is_named_and_how_to_get_it() -> None:
    with pytest.raises(NotFound) as error:
        resolve(want(image="nginx"))
    assert "image 'docker.io/library/nginx:latest' is not on this host" in str(error.value)
    assert "stowage.engine.image" in str(error.value)
    assert "container web" in str(error.value)


def test_a_missing_network_is_named_and_those_that_are_there() -> None:
    with pytest.raises(NotFound) as error:
        resolve(want(networks=(Attachment("fronted"),)))
    assert str(error.value) == (
        "network 'fronted' is not on this host; container web asks for it; there are: frontend, tiny"
    )


def test_a_missing_cgroup_is_named() -> None:
    with pytest.raises(NotFound, match=r"cgroup 'shpo' is not on this host.*container web, cgroup_parent"):
        resolve(want(cgroup_parent="shpo"))
    assert resolve(want(cgroup_parent="shop"))["web"].cgroup_parent == "shop"


def test_a_container_that_is_to_be_absent_needs_nothing() -> None:
    assert resolve(absent=("web",)) == {"web": None}


# What the image says ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entrypoint", "command", "args"),
    [
        (None, None, ("tini", "--", "httpd", "-f")),
        (None, ("sh",), ("tini", "--", "sh")),
        (("strace",), None, ("strace",)),  # a new entrypoint drops the image's command
        (("strace",), ("sh",), ("strace", "sh")),
        ((), ("sh", "-c", "id"), ("sh", "-c", "id")),
        (None, (), ("tini", "--")),
        ((" ",), None, (" ",)),
        (("",), ("sh",), ("sh",)),  # one empty word is no entrypoint
        (None, ("",), ("tini", "--", "")),  # but it is an argument, as any other
        (("strace",), ("", "x"), ("strace", "", "x")),
    ],
)
def test_the_command_line_is_put_together_as_docker_does(entrypoint: Any, command: Any, args: tuple[str, ...]) -> None:
    assert resolve(want(entrypoint=entrypoint, command=command))["web"].args == args


@pytest.mark.parametrize("given", [{"image": BARE}, {"entrypoint": ()}])
def test_a_container_without_any_command_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=r"command: None is not valid; expected a command, because image docker.io"):
        resolve(want(**given))


@pytest.mark.parametrize(
    ("own", "args"), [(("",), ("httpd", "-f")), ((), ("httpd", "-f")), (("tini",), ("tini", "httpd", "-f"))]
)
def test_an_images_entrypoint_of_one_empty_word_is_none(own: tuple[str, ...], args: tuple[str, ...]) -> None:
    """As docker and podman have it: the image's command is the program then."""
    images = {SITE: replace(IMAGES[SITE], config=replace(CONFIG, entrypoint=own))}
    assert resolve(want(), images=images)["web"].args == args


@pytest.mark.parametrize(
    ("given", "option", "value"),
    [
        ({"image": BARE, "command": ("",)}, "command", [""]),
        ({"image": BARE, "command": ("", "x")}, "command", ["", "x"]),
        ({"entrypoint": ("", "x")}, "entrypoint", ["", "x"]),
        ({"entrypoint": ("",)}, "command", None),
    ],
)
def test_a_program_without_a_name_is_refused(given: dict[str, Any], option: str, value: object) -> None:
    """Images may have an empty command: it is an argument where there is an entrypoint, and podman takes it, too."""
    with pytest.raises(InvalidOption) as raised:
        resolve(want(**given))
    assert (raised.value.option, raised.value.value) == (option, value)


def test_variables_go_on_top_of_the_images_and_those_on_top_of_the_default_path() -> None:
    assert dict(resolve(want(env=(("MODE", "loud"), ("X", "1"))))["web"].env) == {
        "PATH": "/app",
        "MODE": "loud",
        "X": "1",
    }
    assert resolve(want(image=BARE, command=("sh",)))["web"].env == (("PATH", DEFAULT_PATH),)


def test_what_is_not_given_comes_from_the_image() -> None:
    container = resolve(want())["web"]
    assert (container.working_dir, container.user, container.stop_signal) == ("/www", "www", "SIGQUIT")
    assert (container.image, container.image_digest, container.hostname) == (SITE, "sha256:aa", "web")


def test_what_is_given_wins_over_the_image() -> None:
    container = resolve(want(working_dir="/srv", user="0:0", stop_signal="SIGINT", hostname="www"))["web"]
    assert (container.working_dir, container.user, container.stop_signal) == ("/srv", "0:0", "SIGINT")
    assert container.hostname == "www"


def test_an_image_that_says_nothing_gives_root_in_the_root_directory() -> None:
    container = resolve(want(image=BARE, command=("sh",)))["web"]
    assert (container.working_dir, container.user, container.stop_signal) == ("/", "", "SIGTERM")


def test_the_image_may_be_named_in_short() -> None:
    assert resolve(want(image="site:1"))["web"].image == SITE


# Addresses -------------------------------------------------------------------------------------------


def test_an_address_is_assigned_by_the_name_and_is_the_same_again() -> None:
    first = address_of(resolve(WantedContainer(attached("web")))["web"])
    assert first == assign_address("10.88.0.0/24", "10.88.0.1", "web", set())
    assert address_of(resolve(WantedContainer(attached("web")))["web"]) == first


def test_an_address_is_kept() -> None:
    there = attached("web", "10.88.0.200")
    assert address_of(resolve(WantedContainer(attached("web")), there=(there,))["web"]) == "10.88.0.200"


def test_an_address_outside_of_the_network_is_not_kept() -> None:
    there = attached("web", "10.77.0.9")
    assert address_of(resolve(WantedContainer(attached("web")), there=(there,))["web"]).startswith("10.88.0.")


def test_an_address_that_another_container_has_is_not_assigned() -> None:
    favourite = assign_address("10.88.0.0/24", "10.88.0.1", "web", set())
    there = attached("db", favourite)
    assert address_of(resolve(WantedContainer(attached("web")), there=(there,))["web"]) != favourite


def test_a_fixed_address_is_given_and_whoever_was_assigned_it_makes_room() -> None:
    there = attached("web", "10.88.0.50")
    found = resolve(WantedContainer(attached("web")), WantedContainer(attached("db", "10.88.0.50")), there=(there,))
    assert address_of(found["db"]) == "10.88.0.50"
    assert address_of(found["web"]) != "10.88.0.50"


def test_a_fixed_address_is_free_where_its_holder_is_to_be_absent() -> None:
    there = attached("db", "10.88.0.50")
    found = resolve(WantedContainer(attached("web", "10.88.0.50")), there=(there,), absent=("db",))
    assert address_of(found["web"]) == "10.88.0.50"


def test_two_containers_cannot_have_one_fixed_address() -> None:
    expected = "containers web and db both want address 10.88.0.50 on network frontend; give one of them another"
    with pytest.raises(Conflict, match=expected):
        resolve(WantedContainer(attached("web", "10.88.0.50")), WantedContainer(attached("db", "10.88.0.50")))


def test_a_fixed_address_of_a_container_that_is_there_is_refused() -> None:
    with pytest.raises(Conflict, match=r"containers db and web both want address 10.88.0.50"):
        resolve(WantedContainer(attached("web", "10.88.0.50")), there=(attached("db", "10.88.0.50"),))


@pytest.mark.parametrize("address", ["10.88.1.5", "10.88.0.0", "10.88.0.1", "10.88.0.255"])
def test_a_fixed_address_must_be_one_that_a_container_can_have(address: str) -> None:
    with pytest.raises(InvalidOption) as error:
        resolve(WantedContainer(attached("web", address)))
    assert error.value.option == "networks of container web: ipv4_address"
    assert error.value.value == address
    assert "10.88.0.0/24 other than the gateway 10.88.0.1" in error.value.expected


def test_a_full_network_is_told() -> None:
    one = attached("web", network="tiny")
    assert address_of(resolve(WantedContainer(one))["web"]) == "10.99.0.2"
    with pytest.raises(Conflict, match=r"10\.99\.0\.0/30"):
        resolve(WantedContainer(one), there=(attached("db", "10.99.0.2", "tiny"),))


def test_containers_of_one_task_get_different_addresses() -> None:
    names = [f"worker-{number}" for number in range(200)]
    found = resolve(*(WantedContainer(attached(name)) for name in names))
    assert len({address_of(found[name]) for name in names}) == 200


def test_a_container_is_wanted_connected() -> None:
    there = replace(attached("web", "10.88.0.9"), networks=(Attachment("frontend", "10.88.0.9", connected=False),))
    assert resolve(WantedContainer(attached("web")), there=(there,))["web"].networks[0].connected


# Ports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Port(80, 80), Port(80, 8080)),
        (Port(80, 80), Port(80, 80, host_ip="192.0.2.1")),  # every address is also this one
        (Port(80, 80, host_ip="192.0.2.1"), Port(80, 80)),
        (Port(80, 80, host_ip="192.0.2.1"), Port(80, 80, host_ip="192.0.2.1")),
    ],
)
def test_one_port_of_the_host_leads_to_one_container(one: Port, other: Port) -> None:
    message = r"containers (web|db) and (web|db) both publish [0-9.]+:80/tcp; change one of them"
    with pytest.raises(Conflict, match=message):
        resolve(want("web", ports=(one,)), want("db", ports=(other,)))
    with pytest.raises(Conflict, match=message):
        resolve(want("web", ports=(one,)), there=(Container("db", SITE, ports=(other,)),))


@pytest.mark.parametrize(
    "other", [Port(81, 80), Port(80, 80, protocol="udp", host_ip="192.0.2.1"), Port(80, 80, host_ip="192.0.2.2")]
)
def test_ports_that_do_not_meet_are_fine(other: Port) -> None:
    one = Port(80, 80, host_ip="192.0.2.1")
    assert resolve(want("web", ports=(one,)), want("db", ports=(other,))).keys() == {"web", "db"}


def test_a_port_goes_from_one_container_to_another_in_one_run() -> None:
    there = (Container("db", SITE, ports=(Port(80, 80),)),)
    assert resolve(want("web", ports=(Port(80, 80),)), want("db"), there=there)["web"].ports == (Port(80, 80),)
    assert resolve(want("web", ports=(Port(80, 80),)), there=there, absent=("db",))["web"].ports == (Port(80, 80),)


def test_a_port_that_one_container_publishes_twice_is_told_so() -> None:
    with pytest.raises(Conflict, match=r"container web twice publishes 0\.0\.0\.0:80/tcp"):
        resolve(want(ports=(Port(80, 80), Port(80, 81))))


def test_capabilities_are_named_as_the_kernel_does_in_one_order() -> None:
    security = Security(cap_add=("net_raw", "CAP_NET_ADMIN"), cap_drop=("all",))
    found = resolve(want(security=security))["web"].security
    assert (found.cap_add, found.cap_drop) == (("CAP_NET_ADMIN", "CAP_NET_RAW"), ("ALL",))


def test_an_unknown_capability_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"^cap_add: 'CAP_NOPE' .*a capability of capabilities\(7\)"):
        resolve(want(security=Security(cap_add=("CAP_NOPE",))))


def test_check_mode_takes_for_granted_what_an_earlier_task_makes() -> None:
    wanted = want(image="later:1", cgroup_parent="later", networks=(Attachment("later"),))
    told: list[str] = []
    found = resolve_containers(
        {"web": wanted}, containers={}, images={}, networks={}, cgroups={}, absent=lambda error: told.append(error.kind)
    )
    assert told == ["image", "cgroup", "network"]
    assert found["web"] is not None and found["web"].networks == (Attachment("later"),)


# Check mode --------------------------------------------------------------------------------------------


def test_check_mode_takes_for_granted_what_an_earlier_task_would_have_made() -> None:
    noted: list[str] = []
    container = Container("web", "nginx", networks=(Attachment("overlay", "10.1.2.3"),), cgroup_parent="shpo")
    found = resolve_containers(
        {"web": WantedContainer(container)},
        containers={},
        images=IMAGES,
        networks=NETWORKS,
        cgroups={},
        absent=lambda error: noted.append(error.name),
    )
    assert noted == ["docker.io/library/nginx:latest", "shpo", "overlay"]
    assert found["web"].image == "docker.io/library/nginx:latest"
    assert found["web"].networks == (Attachment("overlay", "10.1.2.3"),)


# Ids -------------------------------------------------------------------------------------------------

AUTO = Namespaces(userns="auto")


def ids_of(container: Container) -> tuple[int, int]:
    return container.namespaces.uid_map[0][1], container.namespaces.gid_map[0][1]


def test_containers_get_ids_of_their_own_and_keep_them() -> None:
    found = resolve(want("web", namespaces=AUTO), want("db", namespaces=AUTO))
    assert ids_of(found["web"]) != ids_of(found["db"])
    assert found["web"].namespaces.uid_map[0][2] == 65536
    again = resolve(want("db", namespaces=AUTO), there=(found["web"], found["db"]))
    assert again["db"].namespaces == found["db"].namespaces


def test_ids_of_a_container_that_is_there_are_taken() -> None:
    first = resolve(want("web", namespaces=AUTO))["web"]
    other = replace(first, name="other")
    assert ids_of(resolve(want("web", namespaces=AUTO), there=(other,))["web"]) != ids_of(first)


def test_ids_that_were_given_are_not_kept_when_they_are_to_be_chosen() -> None:
    ids = ((0, 100000, 65536),)
    given = Namespaces("map", ids, ids)
    there = Container("web", SITE, namespaces=given)
    assert resolve(want("web", namespaces=given), there=(there,))["web"].namespaces == given
    assert ids_of(resolve(want("web", namespaces=AUTO), there=(there,))["web"]) != (100000, 100000)
    assert resolve(want("web"), there=(there,))["web"].namespaces == Namespaces()


def test_a_host_name_is_its_own_unless_it_is_the_host_s() -> None:
    assert resolve(want("web"))["web"].hostname == "web"
    assert resolve(want("web", namespaces=Namespaces(uts="host")))["web"].hostname == ""
