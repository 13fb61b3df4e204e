"""What is made of trajectories: fidelity, plots, tables."""

from .fidelity import Fidelity as Fidelity, fidelity as fidelity
from .table_one import TableOne as TableOne, table_one as table_one
