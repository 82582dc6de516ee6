"""What the checks of the exercises say: `lesson_NN.eK(answer, ...)` prints one sentence."""
