"""``tim align``: the same thing from two sources, proposed; accepted and rejected by whoever looks."""

from __future__ import annotations

from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli.history import Author, Dataset, Limit, Reason, Yes, applied_record, sure, tell_applied
from cli.output import DEFAULT_WORKSPACE, Json, Workspace, emit, say, table
from cli.text import number, tr
from tim.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tim.alignment import Proposal
    from tim.store import ObjectStore

Pairs = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        "align",
        help=tr(
            "Which objects of two datasets may be the same thing; accept or reject.",
            "两个数据集中可能是同一事物的对象;采纳或否决。",
        ),
    )(align)


def align(
    dataset: Dataset,
    other: Annotated[str, typer.Argument(help=tr("The dataset to compare it with.", "与之比对的数据集。"))],
    least: Annotated[
        float, typer.Option(min=0.0, max=1.0, help=tr("Only scores of so much.", "仅列出不低于此分值的建议。"))
    ] = 0.5,
    accept: Annotated[
        Pairs, typer.Option(help=tr("ID=ID of a proposal; repeat for more.", "要采纳的建议 ID=ID,可重复。"))
    ] = None,
    reject: Annotated[
        Pairs, typer.Option(help=tr("ID=ID that are not the same; repeat for more.", "并非同一事物的 ID=ID,可重复。"))
    ] = None,
    accept_from: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0,
            help=tr(
                "Accept all with so much, where each is the other's one best.", "采纳不低于此分值、且互为唯一最佳的全部建议。"
            ),
        ),
    ] = None,
    reason: Reason = "",
    author: Author = "",
    yes: Yes = False,
    limit: Limit = 50,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:  # fmt: skip
    """Proposals by score, with their reasons. What is decided becomes a relation and is not proposed again."""
    from tim.alignment import best, propose, settle
    from tim.workspace import Workspace as Folder

    with Folder.open(Path(workspace)).store() as store:
        found = list(propose(store, dataset, other, least=least))
        known = {(proposal.a, proposal.b): proposal for proposal in found}
        rejected = _chosen(reject or (), known)
        accepted = {pair: known[pair] for pair in _chosen(accept or (), known) if pair not in rejected}
        if accept_from is not None:
            left = [proposal for pair, proposal in known.items() if pair not in rejected]
            accepted |= {(proposal.a, proposal.b): proposal for proposal in best(left, accept_from)}
        if not accepted and not rejected:
            _show(store, found, limit, json=json)
            return
        counts = number(len(accepted)), number(len(rejected))
        sure(tr("accept {}, reject {}", "采纳 {} 项,否决 {} 项").format(*counts), yes=yes)
        done = settle(store, list(accepted.values()), list(rejected.values()), author, reason, why=reason)
    if json:
        record = {"accepted": len(accepted), "rejected": len(rejected), "applied": applied_record(done)}
        emit({"dataset": dataset, "other": other, **record})
    else:
        tell_applied(dataset, done)


def _show(store: ObjectStore, found: Sequence[Proposal], limit: int, *, json: bool) -> None:
    """Proposals, the highest scores first."""
    shown = sorted(found, key=_order) if json else nlargest(limit, found, key=lambda proposal: proposal.score)
    names = {version.tim_id: version.object.name for version in store.read([i for p in shown for i in (p.a, p.b)])}
    if json:
        emit({"proposals": [_record(proposal, names) for proposal in shown]})
        return
    table(
        "", [tr("score", "分值"), tr("object", "对象"), tr("may be", "可能是"), tr("reasons", "依据"), "ID=ID"],
        (
            (f"{p.score:.3f}", names.get(p.a) or None, names.get(p.b) or None, p.evidence.partition("; ")[2], f"{p.a}={p.b}")
            for p in shown
        ),
    )  # fmt: skip
    if len(found) > limit:
        total = number(len(found))
        say(tr(f"{total} proposals; the first {limit} are shown", f"共 {total} 项建议,列出前 {limit} 项"))


def _order(proposal: Proposal) -> tuple[float, UUID, UUID]:
    return -proposal.score, proposal.a, proposal.b


def _record(proposal: Proposal, names: Mapping[UUID, str]) -> dict[str, Any]:
    return {
        "a": str(proposal.a), "b": str(proposal.b), "nameA": names.get(proposal.a, ""), "nameB": names.get(proposal.b, ""), "score": round(proposal.score, 6),
        "reasons": [{"kind": reason.kind, "value": reason.value} for reason in proposal.reasons],
    }  # fmt: skip


def _chosen(texts: Iterable[str], known: Mapping[tuple[UUID, UUID], Proposal]) -> dict[tuple[UUID, UUID], Proposal]:
    """The proposals that are named. Raises UsageError ``cli.bad-pair``, ``alignment.not-proposed``."""
    found = {}
    for text in texts:
        a, _, b = text.partition("=")
        try:
            pair = UUID(a), UUID(b)
        except ValueError:
            raise UsageError("cli.bad-pair", text=text) from None
        if pair not in known:
            raise UsageError("alignment.not-proposed", pair=text)
        found[pair] = known[pair]
    return found
