module pipeline-step.dev/testbed/sample

go 1.25.0
