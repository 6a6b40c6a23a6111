"""The expression language: text to a validated syntax tree to a graph, and a graph back to text."""
