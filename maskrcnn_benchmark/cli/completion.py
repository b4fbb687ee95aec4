"""Print a script by which a shell completes commands, options, their choices, names of configurations and their keys.

Keys are offered for a word that begins with a capital letter: `mrb train my.yaml SOLV<Tab>`.

    mrb completion bash >> ~/.bash_completion
    mrb completion zsh >> ~/.zshrc
    mrb completion fish > ~/.config/fish/completions/mrb.fish

The script is complete in itself: completing starts no Python. Print it again after an update.
"""

import argparse
import shlex

from maskrcnn_benchmark.cli import commands
from maskrcnn_benchmark.config.command_line import CommandParser, KeyParser
from maskrcnn_benchmark.config.descriptions import DESCRIPTIONS
from maskrcnn_benchmark.utils.shipped import config_names

SHELLS = ("bash", "zsh", "fish")
CONFIG_OPTIONS = ("--config-file", "--base")


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to read the script")
    return parser


def options_of(name: str) -> dict[str, list[str]]:
    """The options of a command, each with what may follow it: choices, or names of configurations; [] for anything else."""
    module = commands.load(name)
    if not hasattr(module, "build_parser"):
        return {}
    found: dict[str, list[str]] = {}
    for action in module.build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update({word: [] for word in action.choices})
            continue
        if action.help is argparse.SUPPRESS:
            continue
        if not action.option_strings:
            found.update({str(word): [] for word in action.choices or ()})
        for option in action.option_strings:
            values = config_names() if option in CONFIG_OPTIONS else [str(c) for c in action.choices or ()]
            found[option] = values
    return found


def takes_keys(name: str) -> bool:
    """Whether a command takes pairs KEY VALUE of the configuration."""
    module = commands.load(name)
    return hasattr(module, "build_parser") and isinstance(module.build_parser(), KeyParser)


def _bash(tree: dict[str, dict[str, list[str]]], with_keys: list[str]) -> str:
    firsts = " ".join(dict.fromkeys(name.split()[0] for name in tree))
    seconds: dict[str, list[str]] = {}
    for name in tree:
        if " " in name:
            seconds.setdefault(name.split()[0], []).append(name.split()[1])
    cases, values = [], []
    for name, options in tree.items():
        words = [*seconds.get(name, ()), *options]
        if "--config-file" in options:
            words += config_names()
        cases.append(f"        {shlex.quote(name)}) words={shlex.quote(' '.join(words))} ;;")
        values += [
            f"        {shlex.quote(f'{name} {option}')}) words={shlex.quote(' '.join(of_option))} ;;"
            for option, of_option in options.items()
            if of_option
        ]
    cases += [
        f"        {shlex.quote(first)}) words={shlex.quote(' '.join(below))} ;;"
        for first, below in seconds.items()
        if first not in tree
    ]
    lines = "\n".join
    return f"""_mrb() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" command="${{COMP_WORDS[1]}}" words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W {shlex.quote(firsts)} -- "$current"))
        return
    fi
    if [ "$COMP_CWORD" -gt 2 ]; then
        case "$command ${{COMP_WORDS[2]}}" in
            {"|".join(shlex.quote(name) for name in tree if " " in name)}) command="$command ${{COMP_WORDS[2]}}" ;;
        esac
    fi
    case "$command" in
{lines(cases)}
    esac
    case "$command" in
        {"|".join(map(shlex.quote, with_keys))}) [[ "$current" == [A-Z]* ]] && words="$words {" ".join(DESCRIPTIONS)}" ;;
    esac
    case "$command $previous" in
{lines(values)}
    esac
    [[ "$previous" =~ ^[A-Z][A-Z0-9_.]+$ ]] && words=  # the value of a key
    COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current"))
}}
complete -o filenames -F _mrb mrb
"""


def _fish(tree: dict[str, dict[str, list[str]]], with_keys: list[str]) -> str:
    lines = [f"set -g _mrb_keys {shlex.quote(' '.join(DESCRIPTIONS))}"]
    for name, options in tree.items():
        first, *rest = name.split()
        if rest:
            lines.append(f"complete -c mrb -n '__fish_seen_subcommand_from {first}' -a {rest[0]}")
        else:
            summary = shlex.quote(commands.COMMANDS.get(name, ""))
            lines.append(f"complete -c mrb -n __fish_use_subcommand -a {first} -d {summary}")
        seen = " ; and ".join(f"__fish_seen_subcommand_from {word}" for word in (first, *rest))
        for option, values in options.items():
            if not option.startswith("-"):
                lines.append(f"complete -c mrb -n '{seen}' -a {option}")
                continue
            kind = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            after = f" -r -a {shlex.quote(' '.join(values))}" if values else ""
            lines.append(f"complete -c mrb -n '{seen}' {kind}{after}")
        if "--config-file" in options:
            lines.append(f"complete -c mrb -n '{seen}' -a {shlex.quote(' '.join(config_names()))}")
        if name in with_keys:
            capital = "string match -qr '^[A-Z]' -- (commandline -ct)"
            lines.append(f"complete -c mrb -n {shlex.quote(f'{seen} ; and {capital}')} -a $_mrb_keys")
    firsts = {name.split()[0] for name in tree if " " in name} - set(tree)
    lines += [f"complete -c mrb -n __fish_use_subcommand -a {first}" for first in sorted(firsts)]
    return "\n".join(lines) + "\n"


def script(shell: str) -> str:
    """What `mrb completion SHELL` prints."""
    tree = {name: options_of(name) for name in [*commands.COMMANDS, *commands.plugins()]}
    with_keys = [name for name in tree if takes_keys(name)]
    if shell == "fish":
        return _fish(tree, with_keys)
    return ("autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "") + _bash(tree, with_keys)


def main() -> None:
    print(script(build_parser().parse_args().shell), end="")
