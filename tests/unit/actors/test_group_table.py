"""The order in which groups wait is that of sorting them all, whatever happened before."""

from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.actors.group_table import GroupTable
from pgpo_async.actors.prompt_draw import Draw
from pgpo_async.actors.queue_types import GroupState
from pgpo_async.contracts import GroupHeader, Prompt

STEPS = {
    GroupState.RESERVED: (GroupState.GENERATED, GroupState.SCORED),
    GroupState.GENERATED: (GroupState.SCORING,),
    GroupState.SCORING: (GroupState.SCORED, GroupState.GENERATED),
    GroupState.SCORED: (GroupState.TRAINING,),
    GroupState.TRAINING: (GroupState.SCORED,),
}
WAITING = (GroupState.GENERATED, GroupState.SCORED)
operations = st.tuples(st.sampled_from(["add", "move", "remove"]), st.integers(0, 99), st.integers(0, 5))


def header(group_id: str, oldest: int) -> GroupHeader:
    return GroupHeader(
        group_id=group_id,
        num_rollouts=1,
        num_prompt_tokens=1,
        num_response_tokens=1,
        oldest_version=oldest,
        newest_version=oldest,
        num_mixed_rollouts=0,
        mean_reward=0.5,
        mean_parts={},
    )


@given(st.lists(operations, max_size=60))
def test_waiting_groups_are_sorted_by_oldest_version_then_by_reservation(steps):
    table, entries = GroupTable(), []
    for number, (what, pick, version) in enumerate(steps):
        if what == "add" or not entries:
            prompt = Prompt(prompt_id="p", question="?", answer="!")
            entries.append(table.add(Draw(index=number, prompt=prompt), prompt))
            continue
        entry = entries[pick % len(entries)]
        if what == "remove":
            table.remove(entry)
            entries.remove(entry)
            continue
        if entry.state in (GroupState.RESERVED, GroupState.SCORING):
            table.store(entry, object(), 10, header(entry.group_id, version))
        choices = STEPS[entry.state]
        table.move(entry, choices[pick % len(choices)])

        for state in WAITING:
            there = [e for e in entries if e.state is state]
            there.sort(key=lambda e: (e.header.oldest_version, e.order))
            assert table.waiting(state, 1000) == there
            assert table.waiting(state, 2) == there[:2]
            assert table.depth()[state] == len(there)
        old = {e.group_id for e in entries if e.state in WAITING and e.header.oldest_version < version}
        assert {e.group_id for e in table.older_than(version)} == old
