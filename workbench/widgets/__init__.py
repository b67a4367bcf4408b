"""What is drawn for hands in a notebook: `show(x)` finds the view of a thing. Classes below hold and print data and know of no
widget.

Each view has a still form, HTML that papermill, nbconvert and a printed page show; under WORKBENCH_STATIC=1 it is the only one.
"""

from workbench.widgets.show import show

__all__ = ["show"]
