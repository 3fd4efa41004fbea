@echo off
rem Builds the samples to build-windows\ with the C++ compiler that CMake finds, and runs them.
setlocal
cd /d "%~dp0"

cmake -S . -B build-windows || exit /b 1
cmake --build build-windows --config Release || exit /b 1

rem gfpq.dll is looked for on PATH.
set "PATH=%~dp0..\lib;%PATH%"
set "built=build-windows"
if exist build-windows\Release\sample.exe set "built=build-windows\Release"
"%built%\sample.exe" || exit /b 1
python sample_on_python.py ..\lib\gfpq.dll || exit /b 1
if exist "%built%\sample_gpu.exe" "%built%\sample_gpu.exe"
