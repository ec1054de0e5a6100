"""What a NoETL server's API means: what a request is judged on, its access decision, typed calls, execution states."""
