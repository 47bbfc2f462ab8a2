# What every package's BUILD says in the same words. Pants loads this file before any BUILD.


def package(description, version="0.1.0", data=None, entry_points=None, dependencies=None):
    """The sources, data files and wheel of the distribution whose folder this BUILD stands in."""
    folder = build_file_dir().name
    python_sources(name="lib", sources=["**/*.py"], dependencies=[":data", *(dependencies or [])])
    resources(name="data", sources=["py.typed", *(data or [])])
    python_distribution(
        name="wheel",
        dependencies=[":lib"],
        provides=python_artifact(
            name="streamproof-" + folder.replace("_", "-"),
            version=version,
            description=description,
            license="Apache-2.0",
            python_requires=">=3.11,<3.13",
        ),
        entry_points=entry_points or {},
        wheel=True,
        sdist=True,
    )


def service(description, command, version="0.1.0", data=None, dependencies=None):
    """A package that is also a PEX: the default target of the folder, so that `./pants run` starts it."""
    folder = build_file_dir().name
    package(
        description,
        version=version,
        data=data,
        entry_points={"console_scripts": {command: folder + ".command:main"}},
        dependencies=dependencies,
    )
    pex_binary(
        name=folder,
        entry_point=folder + ".__main__",
        dependencies=[":lib"],
        output_path=folder + ".pex",
        execution_mode="venv",
        include_tools=True,
    )
