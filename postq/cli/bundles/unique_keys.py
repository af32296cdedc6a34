"""A YAML loader for data alone that refuses a key given twice, where plain YAML lets the last one win."""

from typing import Any

import yaml


class UniqueKeys(yaml.SafeLoader):
    """A SafeLoader; raises yaml.constructor.ConstructorError for a repeated key."""


def _mapping(loader: UniqueKeys, node: yaml.MappingNode) -> Any:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"'{key.value}' is there twice", key.start_mark
            )
        seen.add(key.value)
    found: dict[Any, Any] = {}
    yield found
    found.update(loader.construct_mapping(node))


UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
