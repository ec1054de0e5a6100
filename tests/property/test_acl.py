"""Access decisions, against the rules read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.policy.acl import AccessPolicy, Action, Rule, Subject
from proxy.policy.glob import path_glob, text_glob

ACTIONS = st.sampled_from([Action.VIEW, Action.EXECUTE, Action.DELETE])
OFTEN = settings(max_examples=300)
ROLES = ("dev", "ops")
EMAILS = {
    "*@x.test": ("a@x.test", "b@x.test"),
    "a@*": ("a@x.test", "a@y.test"),
    "*": ("a@x.test", "b@x.test", "a@y.test"),
}
OBJECTS = {
    "data/**": ("data", "data/a", "data/a/b"),
    "data/*": ("data/a",),
    "**": ("data", "data/a", "data/a/b", "x"),
    "x": ("x",),
}
CLAIMS = (("team", ("blue",)), ("level", (1, 2)))


@dataclass(frozen=True)
class Asked:
    """A question about a playbook, or about a path if it has a method."""

    who: Subject
    action: Action
    name: str
    method: str


def subjects() -> st.SearchStrategy[Subject]:
    return st.builds(
        Subject,
        email=st.sampled_from(["", "a@x.test", "b@x.test", "a@y.test"]),
        subject=st.just("s"),
        roles=st.frozensets(st.sampled_from([*ROLES, "other"])),
        claims=st.fixed_dictionaries(
            {},
            optional={
                "team": st.sampled_from(["blue", "red", ["red", "blue"], None]),
                "level": st.sampled_from([1, True, "1", 3]),
            },
        ),
    )


ASKED = st.builds(
    Asked,
    subjects(),
    ACTIONS,
    st.sampled_from(["data", "data/a", "data/a/b", "x"]),
    st.sampled_from(["", "GET", "POST"]),
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    objects = tuple(path_glob(text) for text in draw(st.lists(st.sampled_from(list(OBJECTS)), min_size=1, max_size=2)))
    about_paths = draw(st.booleans())
    return Rule(
        source=f"gateway.yaml:{draw(st.integers(1, 99))}",
        effect=draw(st.sampled_from(["allow", "deny"])),
        actions=frozenset(draw(st.sampled_from([list(Action), [Action.VIEW], [Action.EXECUTE, Action.VIEW]]))),
        roles=frozenset(draw(st.sampled_from([(), (), ("dev",), ROLES]))),
        emails=tuple(map(text_glob, draw(st.sampled_from([[], [], *([glob] for glob in EMAILS)])))),
        claims=draw(st.sampled_from([(), (), *((claim,) for claim in CLAIMS)])),
        playbooks=() if about_paths else objects,
        paths=objects if about_paths else (),
        methods=frozenset(draw(st.sampled_from([(), ("GET",), ("GET", "POST")]))) if about_paths else frozenset(),
    )


RULES = st.lists(rules(), max_size=6)


def allowed(rules: Sequence[Rule], asked: Asked, *, default_allow: bool = False) -> bool:
    policy = AccessPolicy((), tuple(rules), default_allow=default_allow)
    if asked.method:
        return policy.on_path(asked.who, asked.action, asked.method, asked.name).allowed
    return policy.on_playbook(asked.who, asked.action, asked.name).allowed


def holds(rule: Rule, asked: Asked) -> bool:
    """Whether a rule is about the question, from the tables above and without globs."""
    who = asked.who
    if asked.action not in rule.actions or (rule.roles and not any(role in who.roles for role in rule.roles)):
        return False
    if rule.emails and not any(who.email in EMAILS[glob.text] for glob in rule.emails):
        return False
    for name, wanted in rule.claims:
        value = who.claims.get(name)
        have = value if isinstance(value, list) else [value]
        if not any(repr(item) == repr(want) for item in have for want in wanted):
            return False
    if not any(asked.name in OBJECTS[glob.text] for glob in (rule.paths if asked.method else rule.playbooks)):
        return False
    return not (asked.method and rule.methods and asked.method not in rule.methods)


@OFTEN
@given(RULES, ASKED, st.booleans())
def test_a_decision_is_what_reading_every_rule_gives(rules: list[Rule], asked: Asked, default_allow: bool) -> None:
    effects = {rule.effect for rule in rules if holds(rule, asked)}
    expected = "deny" not in effects and ("allow" in effects or default_allow)
    assert allowed(rules, asked, default_allow=default_allow) is expected


@OFTEN
@given(RULES, ASKED)
def test_a_matching_deny_beats_every_allow(rules: list[Rule], asked: Asked) -> None:
    if any(rule.effect == "deny" and holds(rule, asked) for rule in rules):
        assert not allowed(rules, asked, default_allow=True)


@OFTEN
@given(RULES, rules(), ASKED, st.booleans())
def test_adding_a_deny_never_allows_more(rules: list[Rule], extra: Rule, asked: Asked, default_allow: bool) -> None:
    if extra.effect == "deny" and not allowed(rules, asked, default_allow=default_allow):
        assert not allowed([*rules, extra], asked, default_allow=default_allow)


@OFTEN
@given(RULES, rules(), ASKED)
def test_adding_an_allow_never_denies_more(rules: list[Rule], extra: Rule, asked: Asked) -> None:
    if extra.effect == "allow" and allowed(rules, asked):
        assert allowed([*rules, extra], asked)


@OFTEN
@given(RULES.flatmap(lambda rules: st.tuples(st.just(rules), st.permutations(rules))), ASKED)
def test_the_order_of_the_rules_does_not_matter(orders: tuple[list[Rule], list[Rule]], asked: Asked) -> None:
    one, other = orders
    assert allowed(one, asked) is allowed(other, asked)


@OFTEN
@given(RULES, ASKED)
def test_the_decision_names_a_rule_that_holds_and_has_its_effect(rules: list[Rule], asked: Asked) -> None:
    policy = AccessPolicy((), tuple(rules))
    if asked.method:
        decision = policy.on_path(asked.who, asked.action, asked.method, asked.name)
    else:
        decision = policy.on_playbook(asked.who, asked.action, asked.name)
    if decision.rule is None:
        assert not decision.allowed
        assert not any(holds(rule, asked) for rule in rules)
    else:
        assert holds(decision.rule, asked)
        assert decision.rule.effect == ("allow" if decision.allowed else "deny")
        assert decision.rule.source in decision.because


@OFTEN
@given(RULES, ASKED, st.booleans())
def test_what_is_sorted_out_for_a_user_says_what_the_policy_says(
    rules: list[Rule], asked: Asked, default_allow: bool
) -> None:
    permits = AccessPolicy((), tuple(rules), default_allow=default_allow).permits(asked.who)
    for _ in range(2):
        if asked.method:
            found = permits.allows(asked.action, asked.method, asked.name)
        else:
            found = permits.allows_playbook(asked.action, asked.name)
        assert found is allowed(rules, asked, default_allow=default_allow)
