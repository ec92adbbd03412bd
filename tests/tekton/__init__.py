"""Tasks, Pipelines and Lighthouse triggers: read as they are, and run by real Tekton and Lighthouse."""
