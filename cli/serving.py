"""``tim serve``, ``tim key``, ``tim demo``: let others look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import DEFAULT_WORKSPACE, Json, Quiet, Workspace, emit, say, table
from cli.text import tr

Host = Annotated[
    str, typer.Option(help=tr("Address to listen on; loopback unless you say otherwise.", "监听地址,默认仅本机。"))
]
Port = Annotated[int, typer.Option(help=tr("Port; 0 takes a free one.", "端口;0 表示任选空闲端口。"))]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("serve", help=tr("Serve tiles, API and viewer.", "发布瓦片、接口与浏览器端。"))(serve)
    keys = typer.Typer(no_args_is_help=True, help=tr("Keys for private datasets.", "私有数据集的密钥。"))
    keys.command("add", help=tr("Make a key; it is shown once.", "新建密钥,只显示一次。"))(key_add)
    keys.command("list", help=tr("Keys by name.", "列出密钥。"))(key_list)
    keys.command("revoke", help=tr("Take a key back.", "撤销密钥。"))(key_revoke)
    keys.command("sign", help=tr("A signed path prefix for one dataset.", "为某数据集签发带签名的路径前缀。"))(key_sign)
    keys.command("lock", help=tr("Make a dataset private.", "设为私有数据集。"))(key_lock)
    keys.command("unlock", help=tr("Make a dataset public again.", "恢复为公开数据集。"))(key_unlock)
    app.add_typer(keys, name="key")
    app.command("demo", help=tr("Make, tile and serve a small coastal place.", "生成、切片并发布一个海滨小镇示例。"))(
        demo
    )


def serve(
    workspace: Workspace = DEFAULT_WORKSPACE,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    root_path: Annotated[str, typer.Option(help=tr("Path prefix behind a gateway.", "网关后的路径前缀。"))] = "",
    base_maps: Annotated[Path | None, typer.Option(help=tr("TOML file of base maps.", "底图设置文件(TOML)。"))] = None,
    cors: Annotated[str, typer.Option(help=tr("Origin that other sites may read from.", "允许跨域读取的来源。"))] = "*",
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help=tr("Server processes.", "服务进程数。"))] = 1,
    access_log: Annotated[bool, typer.Option("--access-log", help=tr("Log every request.", "记录每个请求。"))] = False,
    edit: Annotated[
        bool,
        typer.Option("--edit", help=tr("Whoever is on this machine may place schemes.", "允许本机用户放置方案模型。")),
    ] = False,
) -> None:
    """Serve until interrupted."""
    from server.run import serve as run
    from tim.workspace import Workspace as Folder

    run(
        Folder.open(Path(workspace)), host, port, root_path=root_path, base_maps=base_maps, cors=cors, workers=workers,
        access_log=access_log, edit=edit, on_ready=ready,
    )  # fmt: skip


def ready(url: str) -> None:
    """Say where it is."""
    say(tr(f"Viewer   {url}", f"浏览器端 {url}"))
    say(tr(f"API      {url}api", f"接口     {url}api"))
    say(tr("Stop with Ctrl+C.", "按 Ctrl+C 停止。"))


def demo(
    folder: Annotated[str, typer.Option("--dir", help=tr("Where the demo lives.", "示例所在目录。"))] = ".demo",
    host: Host = "127.0.0.1",
    port: Port = 8080,
    only_make: Annotated[
        bool, typer.Option("--no-serve", help=tr("Make it, do not serve it.", "只生成,不发布。"))
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """A small coastal place made offline, imported, tiled and served."""
    from cli.demo import make_demo
    from server.edit import is_loopback
    from server.run import serve as run

    made = make_demo(Path(folder), quiet=quiet)
    if json:
        emit(made.record())
    if not only_make:
        run(made.workspace, host=host, port=port, edit=is_loopback(host), on_ready=ready)


def key_add(
    name: Annotated[str, typer.Argument(help=tr("Who it is for.", "用途或持有者。"))],
    dataset: Annotated[
        list[str] | None, typer.Option(help=tr("Only these datasets; all if left out.", "限定数据集,缺省为全部。"))
    ] = None,
    days: Annotated[float | None, typer.Option(help=tr("Valid for so many days.", "有效天数。"))] = None,
    edit: Annotated[
        bool, typer.Option("--edit", help=tr("Its holder may place schemes.", "允许持有者放置方案模型。"))
    ] = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """Make a key."""
    from server.access import Keys
    from tim.workspace import Workspace as Folder

    secret = Keys(Folder.open(Path(workspace)).path).create(name, datasets=dataset or None, days=days, edit=edit)
    if json:
        emit({"name": name, "key": secret})
        return
    say(tr("Keep it now; only its hash is stored.", "请立即保存,系统只存其散列。"))
    typer.echo(secret)


def key_list(workspace: Workspace = DEFAULT_WORKSPACE, json: Json = False) -> None:
    """Keys, without their secrets."""
    from server.access import Keys
    from tim.workspace import Workspace as Folder

    records = Keys(Folder.open(Path(workspace)).path).records()
    if json:
        emit({"keys": records})
        return
    table(tr("Keys", "密钥"), [tr("name", "名称"), tr("datasets", "数据集"), tr("expires", "到期"), tr("edit", "编辑")],
          [(r["name"], ", ".join(r["datasets"] or []) or "*", r["expires"], "✓" if r["edit"] else None) for r in records])  # fmt: skip


def key_revoke(name: str, workspace: Workspace = DEFAULT_WORKSPACE) -> None:
    """Take a key back."""
    from server.access import Keys
    from tim.workspace import Workspace as Folder

    Keys(Folder.open(Path(workspace)).path).revoke(name)


def key_sign(
    dataset: str,
    name: Annotated[str, typer.Option("--key", help=tr("Name of the key that signs.", "签名所用密钥名称。"))],
    days: Annotated[float, typer.Option(help=tr("Valid for so many days.", "有效天数。"))] = 7,
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Print a signed path prefix."""
    from server.access import Keys
    from tim.workspace import Workspace as Folder

    typer.echo(Keys(Folder.open(Path(workspace)).path).sign(name, dataset, days=days))


def key_lock(dataset: str, workspace: Workspace = DEFAULT_WORKSPACE) -> None:
    """Only keys open the dataset from now on."""
    set_private(workspace, dataset, private=True)


def key_unlock(dataset: str, workspace: Workspace = DEFAULT_WORKSPACE) -> None:
    """Everybody may see the dataset."""
    set_private(workspace, dataset, private=False)


def set_private(workspace: str, dataset: str, *, private: bool) -> None:
    """Change who may see a dataset."""
    from dataclasses import replace

    from tim.workspace import Workspace as Folder

    with Folder.open(Path(workspace)).store() as store:
        store.put_dataset(replace(store.dataset(dataset), private=private))
    say(tr(f"{dataset} is {'private' if private else 'public'}", f"{dataset} 已设为{'私有' if private else '公开'}"))
