"""Numbers that were measured on a machine, each with the script that measures it. They decide speed, not equations.

Measured on two cores of an AMD EPYC; docs/performance.md has the figures.
"""

# benchmarks/xor_ensemble.py, benchmarks/scale.py: up to so many numbers a lane XLA on a CPU is fastest with lanes side
# by side in one vector; with more, one after the other.
FEW_NUMBERS = 1024
# benchmarks/xor_ensemble.py: the most lanes that repay being put on a device at once. On CPUs more leave the cache;
# engines of one core go through small lanes by blocks that stay in it.
MOST_LANES_CPU, MOST_LANES_IN_BLOCKS, MOST_LANES_ELSEWHERE = 2**10, 2**13, 2**18
# benchmarks/xor_ensemble.py: fewer small lanes than these in a chunk do not repay a thread.
WORTH_A_WORKER = 64
# tests/batch/test_batch.py, test_many_chunks_change_nothing: XLA rounds a lone lane otherwise, and small lanes that are
# left over of a vector of eight.
FEWEST_LANES, VECTOR_OF_LANES = 2, 8

# The share of a memory that chunks are planned for: the rest is for what XLA and the host keep.
SHARE_OF_MEMORY = 0.5
# benchmarks/right_hand_side.py: steps of conjugate gradients at m_x/m_W = 1e-3/width.
SOLVER_STEPS = {"float32": 3.0, "float64": 5.0}
# benchmarks/right_hand_side.py: bytes of a matrix below which two products with a vector are faster than one with two
# columns, since the second finds it in a cache.
CACHED_MATRIX = 2**20
# A guess: what a step of the sweep through a digraph costs beside its edges, in edges.
EDGES_A_STEP = 512

# benchmarks/xor_ensemble.py: lanes of a row of the fused engine. What a step computes on its way stays in the nearest
# cache, and XLA leaves such rows on one core: faster there than 128 on two.
BLOCK = 64
# benchmarks/xor_ensemble.py: numbers of a state above which arrays serve better and compile sooner.
MAX_STATE = 64
# benchmarks/xor_ensemble.py: the largest step that has been timed, and compiled sooner than Diffrax's: an XOR network
# by Heun's method, 801 operations.
MOST_OPERATIONS = 850
# benchmarks/work_precision.py: neurons up to which elimination is written out; it grows with their cube.
MAX_UNROLLED_NEURONS = 32
# tests/fused/test_scalarise.py: larger arrays stay whole, as tables that are looked up; the weights of a network whose
# multipliers are written out are numbers still. A look-up among 1000 takes 20 s to compile, among 4000 80 s; among more
# candidates than the second number it is left to memory.
MAX_ENTRIES, MAX_CANDIDATES = 1024, 32

# benchmarks/scale.py: arrays of so few numbers are arithmetic, number by number, and start no kernel; larger ones cost
# a kernel for about every second equation, since XLA fuses the other, roughly.
FUSED_NUMBERS, KERNELS_AN_EQUATION = 8, 0.5

# benchmarks/one_run.py: stages of an explicit method up to which a step writes them out; more only for states of so
# many numbers, each stage being one more copy of the law to compile.
FEW_STAGES = 2
WORTH_UNROLLING = 100_000

# benchmarks/one_run.py: a loop of arithmetic on arrays of so many numbers at most is one kernel of a CPU.
NUMBERS_OF_A_KERNEL = 1024
# benchmarks/one_run.py: records of fewer saved times do not repay that one large kernel compiles longer than many.
WORTH_A_KERNEL = 256
# Bytes of states that reverse mode keeps anyway, where the steps of a run are known; numbers of an array from which on
# it is not copied between the two halves of a step's cotangent.
KEPT_ANYWAY, LARGE_ARRAY = 2**24, 2**16
