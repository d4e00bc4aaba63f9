"""The operations that this door answers: the functions in `api/operations`, matched by name with the service models.

A function without an operation in a model, or an operation whose action nobody may be granted, stops the start.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, get_args

from gyropilot.api import operations as operations_folder
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House
from gyropilot.errors import UnknownOperation
from gyropilot.store.principals import Principal
from gyropilot.wire import service_model
from gyropilot.wire.service_model import Operation, ServiceModel, ServiceName
from gyropilot.wire.service_model import Protocol as ProtocolName

Json = Any
Function = Callable[[House, Caller, dict[str, Json]], "dict[str, Json] | None"]
Access = Literal["read", "write", "invoke", "identify", "admin"]

# What an operation's first word lets one do; an operation that begins otherwise cannot be granted, nor started with.
_ACCESS_BY_VERB: Mapping[str, Access] = {
    "Describe": "read",
    "Get": "read",
    "List": "read",
    "Filter": "read",
    "Add": "write",
    "Create": "write",
    "Delete": "write",
    "Stop": "write",
    "Update": "write",
    "Invoke": "invoke",
}
# Who a key belongs to is told to whoever holds it.
_ACCESS_BY_ACTION: Mapping[str, Access] = {"sts:GetCallerIdentity": "identify"}
_ACCESS_BY_KIND: Mapping[str, frozenset[Access]] = {
    "admin": frozenset(get_args(Access)),
    "operator": frozenset(get_args(Access)) - {"admin"},
    "invoker": frozenset({"invoke", "identify"}),
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One operation with the function that answers it and the action that a caller needs."""

    operation: Operation
    model: ServiceModel
    function: Function
    action: str
    access: Access
    changes_something: bool
    """Whether calls are noted in the audit log."""

    @property
    def allowed_kinds(self) -> tuple[str, ...]:
        """The kinds of principals that may do this."""
        return tuple(kind for kind, accesses in _ACCESS_BY_KIND.items() if self.access in accesses)

    def is_allowed_to(self, principal: Principal) -> bool:
        """Say whether a principal may do this."""
        return principal.kind in self.allowed_kinds


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All entries, by target: `SageMaker.CreateAutoMLJobV2`, `sts.GetCallerIdentity`."""

    entries: Mapping[str, Entry]
    models: tuple[ServiceModel, ...]

    @property
    def signing_names(self) -> tuple[str, ...]:
        """The services that a signature may name, each once."""
        return tuple(dict.fromkeys(model.signing_name for model in self.models))

    def find(self, signing_name: str, protocol: ProtocolName, target: str) -> Entry:
        """Give the entry of a target, called under a signature for `signing_name` in a protocol.

        Raises:
            UnknownOperation: that service has it not, or it is not built here.
        """
        prefix, _, name = target.partition(".")
        asked = (signing_name, protocol, prefix)
        models = [one for one in self.models if asked == (one.signing_name, one.protocol, one.target_prefix)]
        if models and target in self.entries:
            return self.entries[target]
        if any(name in model.known_names for model in models):
            raise UnknownOperation(f"The operation {name} is not built here yet.")
        raise UnknownOperation(f"There is no operation {target[:100]!r}.")


def read(modules: Iterable[ModuleType] | None = None) -> Catalog:
    """Give the catalog of the functions in `modules`, by default all in `api/operations`.

    Raises:
        RuntimeError: a function has no operation, or an operation no action.
    """
    functions = _functions(_all_modules() if modules is None else modules)
    names: tuple[ServiceName, ...] = get_args(ServiceName)
    models = tuple(service_model.load(name, lambda op: service_model.function_name(op) in functions) for name in names)
    found = [(model, operation) for model in models for operation in model.operations.values()]
    unmatched = functions.keys() - {service_model.function_name(operation.name) for _, operation in found}
    if unmatched:
        raise RuntimeError(f"no service model has an operation for the functions {sorted(unmatched)}")
    return Catalog(
        entries={
            f"{model.target_prefix}.{operation.name}": _entry(model, operation, functions) for model, operation in found
        },
        models=models,
    )


def _entry(model: ServiceModel, operation: Operation, functions: Mapping[str, Function]) -> Entry:
    action = f"{operation.service}:{operation.name}"
    by_verb = _access_of_verb(operation.name)
    return Entry(
        operation=operation,
        model=model,
        function=functions[service_model.function_name(operation.name)],
        action=action,
        access=_stated_access(operation) or _ACCESS_BY_ACTION.get(action) or by_verb,
        changes_something=by_verb == "write",
    )


def _stated_access(operation: Operation) -> Access | None:
    """Give what the operation's model says a caller needs; None where it leaves that to the verb."""
    stated = next((access for access in get_args(Access) if access == operation.access), None)
    if operation.access and stated is None:
        raise RuntimeError(f"the operation {operation.name} asks for {operation.access!r}, which nobody is granted")
    return stated


def _access_of_verb(name: str) -> Access:
    verb = next((verb for verb in _ACCESS_BY_VERB if name.startswith(verb)), None)
    if verb is None:
        raise RuntimeError(f"the operation {name} begins with no verb that says what it lets a caller do")
    return _ACCESS_BY_VERB[verb]


def _functions(modules: Iterable[ModuleType]) -> dict[str, Function]:
    found: dict[str, Function] = {}
    for module in modules:
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                if name in found:
                    raise RuntimeError(f"two modules have the operation {name}")
                found[name] = value
    return found


def _all_modules() -> list[ModuleType]:
    prefix = f"{operations_folder.__name__}."
    return [importlib.import_module(one.name) for one in pkgutil.iter_modules(operations_folder.__path__, prefix)]
