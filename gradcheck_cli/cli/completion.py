"""`gradcheck completion`: what has a shell complete commands, options, spec files, checks and operators.

The script that it prints calls it again at every TAB, with the words typed so far. Nothing of this is
imported where it isn't asked for, so that the start of other commands doesn't pay for it.
"""

from typing import Annotated

import typer

# Bash hands over the line itself, because it takes words apart at `:` and `=`.
_BASH = """\
# Completion of gradcheck for bash:  source <(gradcheck completion bash)
_gradcheck() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("$line")
  done < <("$1" completion bash -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2> /dev/null)
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/:=,] ]]; then
    compopt -o nospace 2> /dev/null
  fi
}
complete -o nosort -F _gradcheck gradcheck 2> /dev/null || complete -F _gradcheck gradcheck
"""
_ZSH = """\
#compdef gradcheck
# Completion of gradcheck for zsh:  source <(gradcheck completion zsh), after compinit
_gradcheck() {
  local line
  local -a plain open shown more
  for line in "${(@f)$("${(Q)words[1]}" completion zsh -- "${(@Q)words[1,CURRENT]}" 2> /dev/null)}"; do
    [[ -n $line ]] || continue
    if [[ ${line%%$'\\t'*} == *[/:=,] ]]; then
      open+=("${line%%$'\\t'*}")
      more+=("${line/$'\\t'/  -- }")
    else
      plain+=("${line%%$'\\t'*}")
      shown+=("${line/$'\\t'/  -- }")
    fi
  done
  (( ${#plain} )) && compadd -l -U -d shown -- "${plain[@]}"
  (( ${#open} )) && compadd -l -U -S '' -d more -- "${open[@]}"
  (( ${#plain} + ${#open} ))
}
# Sourced, or loaded at the first TAB from a folder of $fpath.
if [[ ${funcstack[1]} == _gradcheck ]]; then
  _gradcheck "$@"
else
  compdef _gradcheck gradcheck
fi
"""
_FISH = """\
# Completion of gradcheck for fish:  gradcheck completion fish > ~/.config/fish/completions/gradcheck.fish
function __gradcheck_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    $before[1] completion fish -- $before "$current" 2> /dev/null
end
complete -c gradcheck -f -a '(__gradcheck_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="Whose script to print.")],
    words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> int:
    """Print a script that has the shell complete commands, options, specs and operators."""
    from gradcheck_cli.errors import ExitCode, did_you_mean
    from gradcheck_cli.suite.selection.values import misused

    if shell not in SCRIPTS:
        hint = did_you_mean(shell, SCRIPTS) or f"choose from {', '.join(SCRIPTS)}"
        misused(f"there is no completion for `{shell}`", hint)
    if words is None:
        print(SCRIPTS[shell], end="")  # noqa: T201 -- the answer itself
        return ExitCode.PASSED
    from gradcheck_cli.cli.completing import candidates, candidates_of_line

    if shell == "bash":
        for text in candidates_of_line(words[0], words[1] if len(words) > 1 else ""):
            print(text)  # noqa: T201 -- the answer itself
        return ExitCode.PASSED
    for found in candidates(words):
        print(f"{found.text}\t{found.help}" if found.help else found.text)  # noqa: T201 -- as above
    return ExitCode.PASSED
