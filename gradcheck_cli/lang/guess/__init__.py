"""What the inputs of an expression are, guessed from how it uses them: shapes, dtypes, and what is assumed.

For expressions of which nobody says the shapes. `uses` reads the text, `search` looks for the likeliest
ranks and dtypes with which it can be computed, `sizes` finds which dimensions must then be equal, and
`dims` gives them letters. What is guessed is stated to the person, who can say it better.
"""

from gradcheck_cli.lang.guess.guess import Guess, Input, guess

__all__ = ["Guess", "Input", "guess"]
